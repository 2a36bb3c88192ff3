"""Test bundles: copies and variants of the default bundle, and small bundles fitted on first use."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.builders.made_once import made_once
from tests.support.builders.shipped import shipped_bundle

from dejavu_models.components.ensemble import POOLED, Weights
from dejavu_models.components.linear import SLOPE, LinearModels
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    LINEAR,
    TOTALS,
    WEIGHTS,
    Manifest,
    RefreshRecord,
    file_names,
    version_of,
)
from dejavu_models.types import LINEAR as LINEAR_MODELS
from dejavu_models.types import LINEAR_SOURCES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_store.bundle import (
    MANIFEST,
    answered,
    linear_from_bytes,
    linear_to_bytes,
    load_bundle,
    load_contents,
    publish,
    read_manifest,
)
from dejavu_store.bundle_store import MANIFESTS, ModelStore
from dejavu_store.default_bundles import default_bundle

if TYPE_CHECKING:
    from dejavu_trainer.data.games import Games
    from dejavu_trainer.training.recipe import TrainingConfig


def copy_of_default(folder: Path) -> str:
    """Copy the default bundle to a folder; return its version."""
    shutil.copytree(default_bundle(), folder)
    return read_manifest(folder).version


def write_refreshed_manifest(folder: Path, of_version: str = "") -> None:
    """Write only the manifest of a refreshed bundle, by default of the shipped one."""
    shipped = read_manifest(default_bundle())
    day = shipped.ratings.date
    record = RefreshRecord(
        of_version=of_version or shipped.version, games=1, first_date=day, last_date=day, data_fingerprint="0" * 64
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(shipped.model_copy(update={"refresh": record}).to_json())


def sealed(manifest: Manifest, contents: Mapping[str, bytes], **changed: object) -> Manifest:
    """Return the manifest with the hashes of other files, so with another version, and with changed values."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return _with(manifest, files=hashes, version=version_of(manifest.ratings, hashes), **changed)


def publish_variant(folder: Path, lost: float, *, light: bool = False) -> str:
    """Publish the default bundle with other linear models, as a trainer does; return its version.

    Args:
        folder: folder of the bundle.
        lost: share of the lead that is expected to be lost by the horizon, in addition to the default bundle's.
        light: whether to publish the light bundle instead.
    """
    base = light_bundle() if light else default_bundle()
    variant, contents = _variant(lost, base)
    with tempfile.TemporaryDirectory() as workshop:
        draft = Path(shutil.copytree(base, Path(workshop) / "draft"))
        (draft / LINEAR).write_bytes(contents[LINEAR])
        (draft / MANIFEST).write_text(variant.to_json())
        model = load_bundle(draft, allow_unfit=True)
        golden = tuple(answered(model, each) for each in variant.golden)
    publish(folder, _with(variant, golden=golden), contents)
    return variant.version


def publish_with_components(folder: Path, components: tuple[str, ...]) -> Manifest:
    """Publish the default bundle with some of its components."""
    base = read_manifest(default_bundle())
    contents = {name: (default_bundle() / name).read_bytes() for name in sorted(file_names(components) | {TOTALS})}
    if components:
        contents[WEIGHTS] = _weights_of(Weights.from_bytes(contents[WEIGHTS]), components).to_bytes()
    manifest = sealed(base, contents, components=components)
    model = load_contents("draft", manifest, contents)
    golden = tuple(answered(model, each) for each in base.golden)
    publish(folder, _with(manifest, golden=golden), contents)
    return read_manifest(folder)


def _weights_of(weights: Weights, components: tuple[str, ...]) -> Weights:
    """Return weights in which other components count nothing, and the rest as before among themselves."""
    values = weights.values * [name == LINEAR_MODELS or name in components for name in POOLED]
    values /= values.sum(axis=-1, keepdims=True)
    return Weights(values, values, values)


def light_bundle() -> Path:
    """Return the folder of the default bundle without games to search or an LSTM; copy it before changing it.

    It is loaded and verified in three fifths of the time.
    """
    return made_once("light-bundle", lambda folder: publish_with_components(folder, ()))


def without_line() -> Forecaster:
    """Return the default bundle as if trained on games without lines: a given margin counts as one of ratings."""
    bundle = shipped_bundle()
    calibration = bundle.calibration
    assert isinstance(calibration, LatticeCalibration)
    tables = {key: model for key, model in calibration.models.items() if key[0] is not MarginSource.LINE}
    line, known = (LINEAR_SOURCES.index(source) for source in (MarginSource.LINE, MarginSource.KNOWN))
    linear, weights = bundle.models.linear, bundle.models.weights
    coefficients, *by_source = (
        each.copy()
        for each in (
            linear.coefficients,
            linear.corrections,
            linear.spreads,
            weights.values,
            weights.lower,
            weights.upper,
        )
    )
    coefficients[:, :, line] = coefficients[:, :, known]
    for column in by_source:
        column[line] = column[known]
    corrections, spreads, values, lower, upper = by_source
    models = replace(
        bundle.models, linear=LinearModels(coefficients, corrections, spreads), weights=Weights(values, lower, upper)
    )
    return Forecaster(bundle.manifest, models, LatticeCalibration(tables), bundle.rating_filter, bundle.totals)


def without_totals() -> Forecaster:
    """Return the default bundle as releases without totals made it."""
    base = shipped_bundle()
    files = {name: digest for name, digest in base.manifest.files.items() if name != TOTALS}
    version = version_of(base.manifest.ratings, files)
    manifest = _with(base.manifest, files=files, version=version)
    return Forecaster(manifest, base.models, base.calibration, base.rating_filter)


def mark_unfit(bundle: Path, reason: str = "worse than persistence") -> None:
    """Set the verdict of the bundle in a folder to unfit; keep its version."""
    manifest = read_manifest(bundle)
    verdict = manifest.verdict.model_copy(update={"fit": False, "reason": reason})
    (bundle / MANIFEST).write_text(manifest.model_copy(update={"verdict": verdict}).to_json())


def _variant(lost: float, base: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest of a variant of a bundle, with the golden queries of that bundle, and its files."""
    manifest = read_manifest(base)
    contents = {name: (base / name).read_bytes() for name in manifest.files}
    linear = linear_from_bytes(contents[LINEAR])
    coefficients = linear.coefficients.copy()
    coefficients[..., SLOPE] -= lost
    contents[LINEAR] = linear_to_bytes(replace(linear, coefficients=coefficients))
    return sealed(manifest, contents), contents


SEASONS = range(2031, 2035)
"""Seasons of the simulated games."""

SEASON_GAMES = 120
"""Games per season: about the fewest that a walk-forward by the quick recipe needs."""


def _with(manifest: Manifest, **changed: object) -> Manifest:
    """Return a manifest with changed values, after validation."""
    return Manifest.model_validate(dict(manifest) | changed)


def small_bundle(folder: Path) -> str:
    """Copy the bundle of `small_bundle_folder` to a folder; return its version."""
    shutil.copytree(small_bundle_folder(), folder)
    return read_manifest(folder).version


def small_bundle_folder() -> Path:
    """Return the folder of a bundle fitted in seconds on simulated games; copy it before changing it.

    It is fitted on 2031 and 2032 and calibrated on 2033. It supports all minutes, both horizons and all teams. Its
    verdict is fit, without a backtest, so that servers load it.
    """

    def make(folder: Path) -> None:
        fit_quickly(simulated_games(), [2031, 2032], [2033], folder)

    return made_once(f"small-bundle-{quick_recipe().digest}", make)


def quick_recipe() -> TrainingConfig:
    """Return a recipe that takes seconds on a few hundred games."""
    # Import late: servers under test do not need the trainer, which loads torch.
    from dejavu_models.components.component import DejavuConfig, LstmConfig
    from dejavu_trainer.training.recipe import TrainingConfig

    return TrainingConfig(
        rating_steps=6,
        dejavu=DejavuConfig(groups=30, nearest=10),
        lstm=LstmConfig(hidden=8, epochs=3),
    )


def simulated_seasons() -> Path:
    """Return the folder of the seasons 2031 to 2034, with SEASON_GAMES random games each."""
    from dejavu_trainer.data.plays import write_plays
    from dejavu_trainer.data.simulate import simulate_season

    def write(folder: Path) -> None:
        folder.mkdir()
        for season in SEASONS:
            write_plays(folder, season, simulate_season(season, games=SEASON_GAMES))

    return made_once("simulated-seasons", write)


def walked_forward() -> Path:
    """Return the folder of a walk-forward by the quick recipe over 2033 and 2034, each calibrated on one season."""
    from dejavu_trainer.evaluation.backtest import Fold, backtest

    def walk(folder: Path) -> None:
        folder.mkdir()
        backtest(simulated_games(), [Fold(quick_recipe(), season, 1) for season in (2033, 2034)], folder)

    return made_once("walk-forward", walk)


@cache
def simulated_games() -> Games:
    """Return the games of `simulated_seasons`."""
    from dejavu_trainer.data.games import load_games

    return load_games(simulated_seasons(), SEASONS)


def fit_quickly(
    games: Games, train: Sequence[int], calibrate: Sequence[int], folder: Path, recipe: TrainingConfig | None = None
) -> None:
    """Fit a bundle, by default by the quick recipe. Its verdict is fit, although no backtest was run."""
    from dejavu_trainer.pipeline import fit

    recipe = recipe or quick_recipe()
    with tempfile.TemporaryDirectory() as workshop:
        backtest = Path(workshop) / "backtest.json"
        verdict = {"fit": True, "reason": "made for tests"}
        backtest.write_text(json.dumps({"recipe": recipe.digest, "seasons": [*calibrate], "verdict": verdict}))
        fit(games, train=train, calibrate=calibrate, out=folder, recipe=recipe, backtest=backtest)


def bundle_of_two_seasons() -> Path:
    """Return the folder of a bundle like `small_bundle`, fitted on 2031 and 2032 alone; copy it before changing it."""
    return made_once("bundle-of-two-seasons", lambda folder: fit_quickly(simulated_games(), [2031], [2032], folder))


def stored_versions(store: ModelStore) -> list[str]:
    """Return the versions of all bundles of a store in a folder, sorted."""
    return sorted(path.stem for path in (Path(store.name) / MANIFESTS).glob("[!.]*.json"))
