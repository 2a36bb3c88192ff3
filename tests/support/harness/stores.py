"""Lists the bundles of a model store in a folder; the product only reads bundles by version."""

from __future__ import annotations

from pathlib import Path

from dejavu_store.bundle_store import MANIFESTS, ModelStore


def stored_versions(store: ModelStore) -> list[str]:
    """Return the versions of all bundles of a store in a folder, sorted."""
    return sorted(path.stem for path in (Path(store.name) / MANIFESTS).glob("[!.]*.json"))
