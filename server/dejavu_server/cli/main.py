"""Entry point of the command `dejavu-server`; reports a missing optional dependency."""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec

from dejavu_common.build import install
from dejavu_common.shown_text import escape_output


def main() -> None:
    """Run the command."""
    open_standard_files()
    escape_output()
    # Otherwise pydantic reads the metadata of all installed packages to look for plugins, here and in each worker.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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
    app()


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
