"""Changes the manifest of a bundle that a test may modify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dejavu_models.registry.bundle import MANIFEST


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Applies a change to the manifest of a bundle."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
