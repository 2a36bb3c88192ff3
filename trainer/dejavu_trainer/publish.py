"""Publishes a bundle into a model store and MLflow, and has a running server stage it and promote what is staged.

A server is called by running the `dejavu` command in a subprocess: the trainer does not import the gRPC contract.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dejavu_models.errors import DejavuError
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer.tracking import MlflowTracker, TrackedRun

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


@dataclass(frozen=True, slots=True)
class Publication:
    """Result of publishing a bundle.

    Attributes:
        model_version: version of the bundle.
        store: name of the store; empty if none was named.
        added: whether the bundle was put into the store now; False if it was there already.
        server: address of the server that staged it; empty if none was named.
        staged: whether the server staged it now; False if it was staged already.
        mlflow: its run in MLflow; None if no server of MLflow was named.
    """

    model_version: str
    store: str
    added: bool
    server: str
    staged: bool
    mlflow: TrackedRun | None


def publish_bundle(
    bundle: Path, *, store: str = "", server: str = "", mlflow: str = "", reason: str = "", allow_unfit: bool = False
) -> Publication:
    """Put a bundle into a store, have a server of this store stage it, and register it in MLflow.

    Each of these is safe to repeat.

    Args:
        bundle: folder of the bundle.
        store: folder or URL of a model store; empty: none.
        server: HOST:PORT of a server with the same store; empty: none. Token and TLS are those of the environment
            (DEJAVU_TOKEN_FILE and so on).
        mlflow: address of an MLflow server; empty: none.
        reason: why it is staged; by default the reason in its lineage.
        allow_unfit: whether to put an unfit bundle into the store.

    Raises:
        BundleError: if the bundle is invalid or unfit.
        InvalidModelStore, ModelStoreUnavailable: if the store cannot be used.
        CallFailed: if the server refuses the bundle, or cannot be reached.
        TrackingError: if MLflow refuses the bundle or does not answer.
    """
    manifest = read_manifest(bundle)
    reason = reason or (manifest.lineage.reason if manifest.lineage else "")
    name, added = "", False
    if store:
        opened = ModelStore.open(store, allow_unfit=allow_unfit)
        name, added = opened.name, opened.put(bundle)
    staged = bool(server) and _stage(manifest.version, server, reason)
    tracked = MlflowTracker(mlflow).register(bundle) if mlflow else None
    return Publication(manifest.version, name, added, server, staged, tracked)


def _stage(version: str, server: str, reason: str) -> bool:
    """Have a server stage a model of its store; return whether it was not staged before."""
    options = ["--reason", reason] if reason else []
    try:
        answer = run_client("models", "load", version, *options, server=server, seconds=None)
    except CallFailed as error:
        raise CallFailed(f"{server} did not stage the bundle: {error}") from None
    return "change" in answer


NOT_PROVEN: Final = "MODEL_NOT_PROVEN"
"""Reason with which a server refuses a promotion without evidence."""

_REASON: Final = "dejavu-trainer retrain --promote"


@dataclass(frozen=True, slots=True)
class Promotion:
    """Answer of a server about a staged model.

    Attributes:
        model_version: the model.
        promoted: whether it is the champion now.
        reason: why it is not; empty if it is.
    """

    model_version: str
    promoted: bool
    reason: str = ""


def promote_staged(server: str) -> list[Promotion]:
    """Ask a server to promote its staged models, the one staged first of all, until one is the champion.

    A model that served before is not asked for: it would be promoted again for not being worse.

    Args:
        server: HOST:PORT of a server with a model store.

    Returns:
        The answers, in the order in which they were asked for; none if nothing is staged.

    Raises:
        CallFailed: if the server refuses for another reason than missing evidence, or does not answer.
    """
    answers = []
    for version in _candidates(server):
        try:
            run_client("models", "promote", version, "--reason", _REASON, server=server)
        except CallFailed as failed:
            if failed.error.get("reason") != NOT_PROVEN:
                raise
            answers.append(Promotion(version, promoted=False, reason=failed.error["message"]))
        else:
            return [*answers, Promotion(version, promoted=True)]
    return answers


def _candidates(server: str) -> list[str]:
    """Return the versions of the staged models that never served, in the order in which they were staged."""
    models = run_client("models", "list", server=server).get("models", [])
    changes = run_client("models", "history", "--limit", "500", server=server).get("changes", [])
    served = {each["modelVersion"] for each in changes if each["action"] == "MODEL_ACTION_PROMOTE"}
    staged = [str(each["version"]) for each in models if each.get("stage") == "MODEL_STAGE_STAGED"]
    return [version for version in staged if version not in served]
