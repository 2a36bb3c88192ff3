"""Options shared by several commands, with the same names and help texts everywhere."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from dejavu_client import config
from dejavu_client.cli.errors import JSON_KEY
from dejavu_client.client import DejavuClient
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_common.address import Address


def _note_json(ctx: typer.Context, requested: bool) -> bool:
    ctx.meta[JSON_KEY] = requested
    return requested


def _timeout(seconds: float) -> float:
    try:
        return config.seconds("timeout", seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Target = Annotated[
    str, typer.Option("--target", metavar="HOST:PORT", envvar="DEJAVU_TARGET", help="Address of the dejavu-server.")
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        envvar="DEJAVU_TIMEOUT",
        callback=_timeout,
        help="How long to wait for a response, including retries.",
    ),
]
Json = Annotated[bool, typer.Option("--json", callback=_note_json, help="Print JSON, one object per line.")]


def address(text: str, option: str) -> Address:
    """Parses a HOST:PORT option into host and port. An IPv6 host is written in brackets.

    Raises:
        typer.BadParameter: if it is not HOST:PORT.
    """
    try:
        return Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def connect(target: str, timeout: float = DEFAULT_TIMEOUT) -> DejavuClient:
    """Returns a client for one command: one connection, and no log messages about slow calls."""
    return DejavuClient(target, timeout=timeout, channels=1, slow=math.inf, very_slow=math.inf)


__all__ = ["DEFAULT_TARGET", "DEFAULT_TIMEOUT", "Json", "Target", "Timeout", "address", "connect"]
