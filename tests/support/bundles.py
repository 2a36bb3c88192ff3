"""Bundles for servers that are to load one in place of another."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dejavu_models.bundle import MANIFEST, load_bundle, publish, read_manifest
from dejavu_models.manifest import version_of
from dejavu_models.registry import default_bundle
from dejavu_models.types import ForecastQuery, ScorePattern


def copy_of_default(folder: Path) -> str:
    """Puts the bundle that ships into a folder; returns its version."""
    shutil.copytree(default_bundle(), folder)
    return read_manifest(folder).version


def publish_variant(folder: Path, dejavu_weight: float) -> str:
    """Publishes the bundle that ships with another weight of its Dejavu part, as a trainer would; its version."""
    manifest = read_manifest(default_bundle())
    stages = tuple(
        stage.model_copy(update={"dejavu_weight": dejavu_weight, "lstm_weight": 1.0 - dejavu_weight})
        for stage in manifest.stages
    )
    variant = manifest.model_copy(update={"stages": stages, "version": version_of(stages, manifest.files)})
    with tempfile.TemporaryDirectory() as workshop:
        draft = Path(shutil.copytree(default_bundle(), Path(workshop) / "draft"))
        (draft / MANIFEST).write_text(variant.to_json())
        golden = variant.golden
        answer = load_bundle(draft).forecast(ForecastQuery(ScorePattern(golden.pattern), golden.horizon, golden.alpha))
        told = {
            "point_forecast": answer.point,
            "interval_lower": answer.interval.lower,
            "interval_upper": answer.interval.upper,
            "home_lead_probability": answer.home_lead_probability,
        }
        contents = {name: (draft / name).read_bytes() for name in manifest.files}
        publish(folder, variant.model_copy(update={"golden": golden.model_copy(update=told)}), contents)
    return variant.version
