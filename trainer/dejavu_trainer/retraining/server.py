"""Calls a server by running the `dejavu` command in a subprocess: the trainer does not import the gRPC contract."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from dejavu_trainer.retraining.errors import RetrainError

_SECONDS: Final = 120
"""Time limit of one command, in seconds."""


def run_client(*arguments: str, server: str) -> str:
    """Run `dejavu` with some arguments; return its output.

    Credentials come from the environment, as for every `dejavu` (docs/clients.md).

    Raises:
        RetrainError: if it fails; the message ends with its last line.
    """
    command = (sys.executable, "-m", "dejavu_client.cli", *arguments, "--target", server)
    name = " ".join(("dejavu", *arguments[:2]))
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - our own program
    except subprocess.TimeoutExpired:
        raise RetrainError(f"{name}: {server} did not answer in {_SECONDS} seconds") from None
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or [f"it ended with {run.returncode} and no reason"])[-1]
        raise RetrainError(f"{name}: {reason.removeprefix('dejavu: ')}")
    return run.stdout


def serving_model(server: str) -> dict[str, Any]:
    """Return the model that answers requests without a version, in protobuf's JSON.

    Raises:
        RetrainError: if the server does not answer, or has no model.
    """
    text = run_client("models", "list", "--json", server=server)
    models = json.loads(text or "{}").get("models", [])
    serving = [model for model in models if model.get("active")]
    if not serving:
        raise RetrainError(f"{server} has no model that serves")
    return dict(serving[0])
