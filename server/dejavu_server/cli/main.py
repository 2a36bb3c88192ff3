"""Entry point of the command `dejavu-server`; without the extra that it needs, it says so."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command."""
    open_standard_files()
    try:
        from dejavu_server.cli.serve import app  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(f"dejavu-server needs {error.name}: pip install 'dejavu-forecast[server]'")
    except KeyboardInterrupt:  # while it loads
        sys.exit(130)
    app()


def open_standard_files() -> None:
    """Has standard input, output and error lead nowhere where whoever started this process closed them.

    Else the next file that is opened, such as a socket, would be taken for them, here and in the workers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
