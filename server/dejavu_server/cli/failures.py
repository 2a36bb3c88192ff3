"""Expected errors of the commands other than the server: one line on stderr and exit code 1, without a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dejavu_models.errors import DejavuError


@contextmanager
def exit_on_error(*, as_json: bool = False) -> Iterator[None]:
    """Turn expected errors of the block into one line on stderr and exit code 1.

    Args:
        as_json: whether to print the reason and the message as a JSON document on stdout, too.

    Raises:
        typer.Exit: after a DejavuError, OSError or ValueError.
    """
    try:
        yield
    except (DejavuError, OSError, ValueError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        if as_json:
            reason = error.reason if isinstance(error, DejavuError) else "CANNOT_READ"
            typer.echo(json.dumps({"failed": True, "reason": reason, "message": message}))
        typer.echo(f"dejavu-server: {message}", err=True)
        raise typer.Exit(1) from error
