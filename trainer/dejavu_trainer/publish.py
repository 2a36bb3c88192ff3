"""Publishes a bundle: into a model store, and to a running server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dejavu_models.manifest import Manifest
from dejavu_models.registry.bundle import read_manifest
from dejavu_models.registry.store.store import ModelStore
from dejavu_trainer.client import CallFailed, run_client


@dataclass(frozen=True, slots=True)
class Publication:
    """Result of publishing a bundle.

    Attributes:
        manifest: manifest of the bundle.
        store: name of the target store; empty if none was named.
        added: whether the bundle was put into the store now; False if it was there already.
        server: address of the server that registered it; empty if none was named.
        registered: whether the server registered it now; False if it knew it already.
        staged: whether the server was asked to stage it.
    """

    manifest: Manifest
    store: str
    added: bool
    server: str
    registered: bool
    staged: bool


def publish_bundle(
    bundle: Path, *, store: str = "", server: str = "", reason: str = "", stage: bool = False, allow_unfit: bool = False
) -> Publication:
    """Put a bundle into a store, and register it with a server. Each is safe to repeat.

    Args:
        bundle: folder of the bundle.
        store: folder or URL of a model store; empty: none.
        server: HOST:PORT of a server with a model store; empty: none. Token and TLS are those of the environment
            (DEJAVU_TOKEN_FILE and so on).
        reason: why it is registered; by default the reason in its lineage.
        stage: whether to have the server stage it, as a challenger.
        allow_unfit: whether to put an unfit bundle into the store.

    Raises:
        BundleError: if the bundle is invalid or unfit.
        InvalidModelStore, ModelStoreUnavailable: if the store cannot be used.
        CallFailed: if the server refuses the bundle, or cannot be reached.
    """
    manifest = read_manifest(bundle)
    reason = reason or (manifest.lineage.reason if manifest.lineage else "")
    name, added, created = "", False, False
    if store:
        opened = ModelStore.open(store, allow_unfit=allow_unfit)
        name, added = opened.name, not opened.has(manifest.version)
        opened.put(bundle)
    if server:
        created = _register(bundle, server, reason, stage=stage)
    return Publication(manifest, name, added, server, created, stage and bool(server))


def _register(bundle: Path, server: str, reason: str, *, stage: bool) -> bool:
    """Register a bundle; return whether the server did not have it before."""
    options = [*(["--reason", reason] if reason else []), *(["--load"] if stage else []), "--", str(bundle)]
    try:
        answer = run_client("models", "register", *options, server=server, seconds=None)
    except CallFailed as error:
        raise CallFailed(f"{server} did not take the bundle: {error}") from None
    return bool(answer.get("created"))
