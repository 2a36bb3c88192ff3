"""Options that several commands about models share."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu_client import config

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="Version of the model, or champion, challenger or previous.")
]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Human-readable reason; kept in the ledger, at most 500 characters."),
]

CHANGE_TIMEOUT = config.MODELS_TIMEOUT
"""Default of --timeout of a change: a server waits up to a minute until all its workers have loaded a model."""
