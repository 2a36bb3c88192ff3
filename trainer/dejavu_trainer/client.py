"""Calls a server by running the `dejavu` command in a subprocess: the trainer does not import the gRPC contract."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final

from dejavu_models.errors import DejavuError

SECONDS: Final = 120.0
"""Time limit of one command."""


class CallFailed(DejavuError):
    """A server refused a call or did not answer, or the command that calls it cannot run.

    Attributes:
        error: what the command printed about it, such as `reason` and `message`; empty if it was not even begun.
    """

    reason = "CALL_FAILED"

    def __init__(self, message: str, error: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.error = error


def run_client(*arguments: str, server: str, seconds: float | None = SECONDS) -> dict[str, Any]:
    """Run `dejavu` with some arguments; return the first document that it prints, in protobuf's JSON.

    Credentials come from the environment, as for every `dejavu` (docs/clients.md).

    Args:
        arguments: the command, then its options.
        server: HOST:PORT of the server.
        seconds: time limit; None if the command has its own.

    Raises:
        CallFailed: if it fails; the message contains what the command said.
    """
    command = [*takewhile(lambda each: not each.startswith("-"), arguments)]
    options = arguments[len(command) :]
    run = (sys.executable, "-m", "dejavu_cli", *command, "--target", server, "--json", *options)
    name = " ".join(("dejavu", *command))
    try:
        ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=seconds)  # noqa: S603 - our own program
    except subprocess.TimeoutExpired:
        raise CallFailed(f"{name}: {server} did not answer in {seconds:g} seconds") from None
    if ended.returncode:
        told, error = _told(ended.stderr)
        raise CallFailed(f"{name}: {told or f'it ended with {ended.returncode} and no reason'}", error)
    document: dict[str, Any] = json.JSONDecoder().raw_decode(ended.stdout.lstrip() or "{}")[0]
    return document


def _told(stderr: str) -> tuple[str, Mapping[str, Any]]:
    """Return what an error says, and its document; only lines of text if the command was not even begun."""
    lines = stderr.strip().splitlines()
    try:
        error: dict[str, Any] = json.loads(lines[-1])["error"]
        fields = [f"{each['field']}: {each['description']}" for each in error["fieldViolations"]]
        parts = [error["message"], *fields, error.get("advice"), f"({error['reason'] or error['code']})"]
        return "; ".join(filter(None, parts)), error
    except (IndexError, KeyError, TypeError, ValueError):
        return "; ".join(line.strip().removeprefix("Error: ") for line in lines if line.strip()), {}


def serving_model(server: str) -> dict[str, Any]:
    """Return the model that answers requests without a version, in protobuf's JSON.

    Raises:
        CallFailed: if the server does not answer, or has no model.
    """
    models = run_client("models", "list", server=server).get("models", [])
    serving = [model for model in models if model.get("active")]
    if not serving:
        raise CallFailed(f"{server} has no model that serves")
    return dict(serving[0])
