"""Changes of bundles: of the manifest alone, or of files and a manifest that fits them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dejavu_models.manifest import Manifest, version_of
from dejavu_store.bundle import MANIFEST, read_manifest


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply a change to the manifest of a bundle."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a bundle."""
    return {name: (folder / name).read_bytes() for name in read_manifest(folder).files}


def resealed(manifest: Manifest, files: dict[str, bytes], **fields: Any) -> Manifest:
    """Return the manifest with hashes and version recomputed for these files."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    version = version_of(manifest.ratings, hashes)
    return manifest.model_copy(update={"files": hashes, "version": version, **fields})
