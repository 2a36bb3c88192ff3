"""Publishes a bundle: into a model store, and to a running server.

`dejavu models register` in another process registers it with a server: the trainer imports neither client nor server.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dejavu_models.errors import DejavuError
from dejavu_models.manifest import Manifest
from dejavu_models.registry.bundle import read_manifest
from dejavu_models.registry.store.store import ModelStore

_CLIENT: Final = (sys.executable, "-m", "dejavu_client.cli")


class PublishError(DejavuError):
    """A server refused a bundle, or the command that sends it cannot run."""

    reason = "CANNOT_PUBLISH"


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
        PublishError: if the server refuses the bundle, or cannot be reached.
    """
    manifest = read_manifest(bundle)
    reason = reason or (manifest.lineage.reason if manifest.lineage else "")
    name, added, created = "", False, False
    if store:
        opened = ModelStore.open(store, allow_unfit=allow_unfit, allow_components=True)
        name, added = opened.name, not opened.has(manifest.version)
        opened.put(bundle)
    if server:
        created = _register(bundle, server, reason, stage=stage)
    return Publication(manifest, name, added, server, created, stage and bool(server))


def _register(bundle: Path, server: str, reason: str, *, stage: bool) -> bool:
    """Register a bundle; return whether the server did not have it before."""
    options = ["--target", server, *(["--reason", reason] if reason else []), *(["--load"] if stage else [])]
    command = (*_CLIENT, "models", "register", *options, "--", str(bundle))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"dejavu ended with {ended.returncode} and no reason"]
        reason = "; ".join(line.strip().removeprefix("Error: ") for line in lines)
        raise PublishError(f"{server} did not take the bundle: {reason}")
    return ended.stdout.startswith("registered ")
