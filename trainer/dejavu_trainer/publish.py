"""Publishes a bundle: into a model store, and from there to a running server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dejavu_models.manifest import Manifest
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer.client import CallFailed, run_client


@dataclass(frozen=True, slots=True)
class Publication:
    """Result of publishing a bundle.

    Attributes:
        manifest: manifest of the bundle.
        store: name of the store; empty if none was named.
        added: whether the bundle was put into the store now; False if it was there already.
        server: address of the server that staged it; empty if none was named.
        staged: whether the server staged it now; False if it was staged already.
    """

    manifest: Manifest
    store: str
    added: bool
    server: str
    staged: bool


def publish_bundle(
    bundle: Path, *, store: str = "", server: str = "", reason: str = "", allow_unfit: bool = False
) -> Publication:
    """Put a bundle into a store, and have a server of this store stage it. Each is safe to repeat.

    Args:
        bundle: folder of the bundle.
        store: folder or URL of a model store; empty: none.
        server: HOST:PORT of a server with the same store; empty: none. Token and TLS are those of the environment
            (DEJAVU_TOKEN_FILE and so on).
        reason: why it is staged; by default the reason in its lineage.
        allow_unfit: whether to put an unfit bundle into the store.

    Raises:
        BundleError: if the bundle is invalid or unfit.
        InvalidModelStore, ModelStoreUnavailable: if the store cannot be used.
        CallFailed: if the server refuses the bundle, or cannot be reached.
    """
    manifest = read_manifest(bundle)
    reason = reason or (manifest.lineage.reason if manifest.lineage else "")
    name, added = "", False
    if store:
        opened = ModelStore.open(store, allow_unfit=allow_unfit)
        name, added = opened.name, not opened.has(manifest.version)
        opened.put(bundle)
    return Publication(manifest, name, added, server, bool(server) and _stage(manifest.version, server, reason))


def _stage(version: str, server: str, reason: str) -> bool:
    """Have a server stage a model of its store; return whether it was not staged before."""
    options = ["--reason", reason] if reason else []
    try:
        answer = run_client("models", "load", version, *options, server=server, seconds=None)
    except CallFailed as error:
        raise CallFailed(f"{server} did not stage the bundle: {error}") from None
    return "change" in answer
