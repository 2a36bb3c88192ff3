"""The entry point of dejavu-trainer: says what to install where the trainer's extra is missing, then runs a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments (those of the process by default) name, and leaves with its exit code.

    Raises:
        SystemExit: always. 0: done; 1: refused or failed, with the reason on stderr; 2: called in a wrong way; 130:
            interrupted.
    """
    try:
        # Late: the commands import numpy and pyarrow, which the base installation does not bring.
        from dejavu_trainer.cli import evaluate, fetch, fit  # noqa: F401 - each adds its commands
        from dejavu_trainer.cli.app import app

        app(None if arguments is None else list(arguments))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(
            f"dejavu-trainer: {error.name} is not installed; it comes with the trainer's extra:"
            " pip install 'dejavu-forecast[trainer]'"
        )
    except KeyboardInterrupt:  # while it loads; a command that runs sees to it itself
        sys.exit(130)
