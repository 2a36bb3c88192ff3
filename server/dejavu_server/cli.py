"""Entry point of the command `dejavu-server`; without the extra that it needs, it says so."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command."""
    try:
        from dejavu_server.commands import app  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(f"dejavu-server needs {error.name}: pip install 'dejavu-forecast[server]'")
    except KeyboardInterrupt:  # while it loads
        sys.exit(130)
    app()
