"""Bundles with the verdict unfit."""

from __future__ import annotations

from pathlib import Path

from dejavu_models.registry.bundle import MANIFEST, read_manifest


def mark_unfit(bundle: Path, reason: str = "worse than persistence") -> None:
    """Sets the verdict of the bundle in a folder to unfit; keeps its version."""
    manifest = read_manifest(bundle)
    verdict = manifest.verdict.model_copy(update={"fit": False, "reason": reason})
    (bundle / MANIFEST).write_text(manifest.model_copy(update={"verdict": verdict}).to_json())
