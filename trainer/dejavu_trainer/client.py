"""Calls a server by running the `dejavu` command in a subprocess: the trainer does not import the gRPC contract."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import takewhile
from typing import Any, Final

from dejavu_models.errors import DejavuError

SECONDS: Final = 120.0
"""Time limit of one command."""


class CallFailed(DejavuError):
    """A server refused a call or did not answer, or the command that calls it cannot run."""

    reason = "CALL_FAILED"


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
    run = (sys.executable, "-m", "dejavu_client.cli", *command, "--target", server, "--json", *options)
    name = " ".join(("dejavu", *command))
    try:
        ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=seconds)  # noqa: S603 - our own program
    except subprocess.TimeoutExpired:
        raise CallFailed(f"{name}: {server} did not answer in {seconds:g} seconds") from None
    if ended.returncode:
        raise CallFailed(f"{name}: {_reason(ended.stderr) or f'it ended with {ended.returncode} and no reason'}")
    document: dict[str, Any] = json.JSONDecoder().raw_decode(ended.stdout.lstrip() or "{}")[0]
    return document


def _reason(told: str) -> str:
    """Return what an error says: a document, or lines of text if the command was not even begun."""
    lines = told.strip().splitlines()
    try:
        error = json.loads(lines[-1])["error"]
        fields = [f"{each['field']}: {each['description']}" for each in error["fieldViolations"]]
        parts = [error["message"], *fields, error.get("advice"), f"({error['reason'] or error['code']})"]
        return "; ".join(filter(None, parts))
    except (IndexError, KeyError, TypeError, ValueError):
        return "; ".join(line.strip().removeprefix("Error: ") for line in lines if line.strip())


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
