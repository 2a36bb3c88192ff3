"""Bundles whose own backtest speaks against them."""

from __future__ import annotations

from pathlib import Path

from dejavu_models.registry.bundle import MANIFEST, read_manifest


def mark_unfit(bundle: Path, reason: str = "worse than persistence") -> None:
    """Gives a bundle that is in its folder the verdict that it is unfit; its version stays what it was."""
    manifest = read_manifest(bundle)
    verdict = manifest.verdict.model_copy(update={"fit": False, "reason": reason})
    (bundle / MANIFEST).write_text(manifest.model_copy(update={"verdict": verdict}).to_json())
