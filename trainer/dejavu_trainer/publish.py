"""Publishes a bundle into a model store and MLflow, and has a running server stage it and promote what is staged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer.client import CallFailed, run_client
from dejavu_trainer.tracking import MlflowTracker, TrackedRun


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
