"""Entry point of the command `dejavu-server`; reports a missing optional dependency."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from dejavu_common.build import install
from dejavu_common.shown_text import escape_output
from dejavu_server.supervisor.fork_server_process import VARIABLES, ForkServerProcess, launch

_NO_SERVER: Final = frozenset(
    {"ledger", "token", "-h", "--help", "--version", "--show-completion", "--install-completion"}
)
"""Commands and options that do something else than serve."""


def main() -> None:
    """Run the command."""
    open_standard_files()
    escape_output()
    # Otherwise pydantic reads the metadata of all installed packages to look for plugins, here and in each worker.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    launched = _launch_fork_server(sys.argv[1:])
    gc.disable()  # objects of imports stay alive: garbage collection would take a tenth of the time
    try:
        from dejavu_server.cli.serve import app  # noqa: PLC0415 - its dependencies may be missing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(f"dejavu-server needs {error.name}: {install('server')}")
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
    finally:
        gc.freeze()
        gc.enable()
    if find_spec("dejavu_models._native") is None:  # only the workers import it
        sys.exit(
            "dejavu-server needs the compiled models: install it where there are a C++ compiler and Python's headers"
        )
    app(obj=launched)


def _launch_fork_server(arguments: Sequence[str]) -> ForkServerProcess | None:
    """Start the process of the fork server if the arguments seem to be those of a server; else return None.

    A process started for a command that does not serve ends with it.
    """
    if _NO_SERVER.intersection(arguments) or "_DEJAVU_SERVER_COMPLETE" in os.environ:
        return None
    try:
        return launch({**os.environ, **VARIABLES})
    except OSError:  # the supervisor tries again, and says why it cannot
        return None


def open_standard_files() -> None:
    """Open standard input, output and error on /dev/null if the parent process closed them.

    Otherwise the next opened file, such as a socket, would get the closed descriptor, here and in the workers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free descriptor: `number`
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
