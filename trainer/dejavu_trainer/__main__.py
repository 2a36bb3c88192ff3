"""Entry point of dejavu-trainer: runs a command, or names the extra to install if it is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dejavu_common.build import install
from dejavu_common.shown_text import escape_output


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command given by the arguments (by default those of the process) and exit with its exit code.

    Raises:
        SystemExit: always. 0: success; 1: refused or failed, reason on stderr; 2: usage error; 130: interrupted.
    """
    escape_output()
    try:
        # Imported late: the commands need numpy and pyarrow, which are not in the base installation.
        from dejavu_trainer.cli import (  # noqa: F401 - registers the commands
            evaluate,
            fit,
            games,
            retrain,
        )
        from dejavu_trainer.cli.app import app

        app(None if arguments is None else list(arguments))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(
            f"dejavu-trainer: {error.name} is not installed; install the trainer: `make install` in a clone, else"
            f" {install('trainer')}"
        )
    except KeyboardInterrupt:  # during the imports; a running command handles it itself
        sys.exit(130)


if __name__ == "__main__":
    main()
