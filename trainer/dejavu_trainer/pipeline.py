"""One training run, from games to a published bundle."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dejavu_models.bundle import check_target, publish, scores_to_bytes
from dejavu_models.dejavu import Dejavu, DejavuSettings
from dejavu_models.forecaster import Forecaster
from dejavu_models.lstm import Lstm
from dejavu_models.manifest import (
    SCHEMA_VERSION,
    DejavuRecord,
    Golden,
    Manifest,
    MetricRecord,
    Part,
    StageFiles,
    StageRecord,
    version_of,
)
from dejavu_models.stage import PointModels, Stage
from dejavu_models.types import DEFAULT_ALPHA, Horizon
from dejavu_trainer.calibrate import calibrate as calibrate_models
from dejavu_trainer.condense import ROUNDS
from dejavu_trainer.fit_dejavu import NEIGHBOURS, SELECTION_STEPS, PastGames, build, choose_settings
from dejavu_trainer.fit_lstm import MAX_EPOCHS, Examples, LstmFit, fit_lstm
from dejavu_trainer.games import SLOTS, Games
from dejavu_trainer.progress import Progress, Silent
from dejavu_trainer.split import SplitError, hold_out_last, split_seasons

DEJAVU_WEIGHT = 0.4
SELECTION_SHARE = 0.2
"""Of the training games, the last: they choose how the Dejavu database is asked."""
EARLY_STOPPING_SHARE = 0.15
"""Of the training games, the last: they say when the LSTM has learned enough."""

LEAST_PROTOTYPES = 2 * min(NEIGHBOURS)
"""With fewer, all of them would be neighbours of every pattern."""

FILES = StageFiles(lstm="lstm.onnx", index="dejavu.hnsw", entries="entries.npz", scores="conformal.npy")


@dataclass(frozen=True)
class FitReport:
    """What a run made and what it chose.

    Attributes:
        forecaster: the published bundle, as loaded back.
        bundle: its folder.
        settings: how the Dejavu database is asked; `selection_mse` is what that left on later training games (points²).
        lstm: how the LSTM's fit went.
        metrics: as in the manifest.
    """

    forecaster: Forecaster
    bundle: Path
    settings: DejavuSettings
    selection_mse: float
    lstm: LstmFit
    metrics: tuple[MetricRecord, ...]

    @property
    def version(self) -> str:
        """The model version."""
        return self.forecaster.version


def fit(
    games: Games,
    *,
    train: Sequence[int],
    calibrate: Sequence[int],
    out: Path,
    seed: int = 0,
    prototypes: int | None = None,
    progress: Progress | None = None,
) -> FitReport:
    """Trains, calibrates and publishes a bundle that forecasts the half from minute 18.

    The same games, seasons, seed and prototypes give the same model version on one machine.

    Args:
        games: those of all seasons named, and perhaps more, which are ignored.
        train: seasons to fit the models on.
        calibrate: other seasons, for intervals and probabilities.
        out: folder of the bundle; an older bundle there is replaced.
        seed: of everything random, at least 0.
        prototypes: how many entries to condense the Dejavu database into; None: every game is one.
        progress: is told how far the run is.

    Raises:
        DataError: if the games can't be divided so, or are too few.
        FitError: if the LSTM can't be fitted.
        FileExistsError: if `out` is neither empty nor a bundle.
        BundleError: if what was written can't be loaded back as it was meant.
    """
    check_target(out)
    progress = progress or Silent()
    to_train, to_calibrate = split_seasons(games, train, calibrate)
    past = PastGames(to_train, to_train.patterns, to_train.halftime - to_train.patterns[:, -1])
    if prototypes is not None and not LEAST_PROTOTYPES <= prototypes <= len(to_train):
        raise SplitError(
            f"{prototypes} prototypes; expected {LEAST_PROTOTYPES} to {len(to_train)}, the games to train on"
        )

    settings, selection_mse = _choose(past, prototypes, seed, progress)
    with progress.stage("Build the Dejavu database", ROUNDS) as advance:
        dejavu = build(past, settings, prototypes, seed, advance)
    lstm = _fit_lstm(past, seed, progress)
    models = PointModels(Horizon.HALFTIME, SLOTS, dejavu, Lstm(lstm.graph, SLOTS), DEJAVU_WEIGHT)

    with progress.stage("Calibrate and publish", 2) as advance:
        stage, metrics = calibrate_models(models, to_calibrate.patterns, to_calibrate.halftime, seed)
        advance(1)
        contents = {
            FILES.lstm: lstm.graph,
            FILES.index: dejavu.index_bytes(),
            FILES.entries: dejavu.entries.to_bytes(),
            FILES.scores: scores_to_bytes(stage.scores),
        }
        record = _record(stage, settings, dejavu, condensed=prototypes is not None)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            version=version_of([record], hashes),
            created_time=datetime.now(UTC),
            train=_part(to_train),
            calibrate=_part(to_calibrate),
            data_fingerprint=games.of_seasons([*train, *calibrate]).fingerprint,
            seed=seed,
            libraries=_libraries(),
            stages=(record,),
            metrics=tuple(metrics),
            golden=_golden(stage, to_calibrate.patterns[-1]),
            files=hashes,
        )
        forecaster = publish(out, manifest, contents)
        advance(1)
    return FitReport(forecaster, out, settings, selection_mse, lstm, manifest.metrics)


def _choose(past: PastGames, prototypes: int | None, seed: int, progress: Progress) -> tuple[DejavuSettings, float]:
    earlier, later = hold_out_last(past.games.date, SELECTION_SHARE)
    # The trial database is condensed as much as the one that ships will be.
    trial_prototypes = prototypes and max(1, round(prototypes * earlier.mean()))
    with progress.stage("Choose how Dejavu looks back", SELECTION_STEPS) as advance:
        choice = choose_settings(past.select(earlier), past.select(later), trial_prototypes, seed, advance)
    return choice.settings, choice.mse


def _fit_lstm(past: PastGames, seed: int, progress: Progress) -> LstmFit:
    earlier, later = hold_out_last(past.games.date, EARLY_STOPPING_SHARE)
    learn = Examples(past.patterns[earlier], past.increments[earlier])
    validate = Examples(past.patterns[later], past.increments[later])
    with progress.stage("Train the LSTM", MAX_EPOCHS) as advance:
        return fit_lstm(learn, validate, seed, advance)


def _part(games: Games) -> Part:
    seasons = tuple(int(season) for season in np.unique(games.season))
    return Part(seasons=seasons, games=len(games), first_date=games.date[0].item(), last_date=games.date[-1].item())


def _record(stage: Stage, settings: DejavuSettings, dejavu: Dejavu, *, condensed: bool) -> StageRecord:
    return StageRecord(
        horizon=stage.models.horizon,
        slots=stage.models.slots,
        dejavu_weight=stage.models.dejavu_weight,
        lstm_weight=stage.models.lstm_weight,
        dejavu=DejavuRecord(
            entries=len(dejavu.entries),
            prototypes=condensed,
            recency=settings.recency,
            neighbours=settings.neighbours,
            kernel=settings.kernel,
        ),
        files=FILES,
    )


def _golden(stage: Stage, pattern: np.ndarray) -> Golden:
    """The answer to one query, from the models as they are before anything is written."""
    point = stage.models.predict(pattern[None, :]).ensemble
    interval = stage.scores.interval(float(point[0]), DEFAULT_ALPHA)
    return Golden(
        horizon=stage.models.horizon,
        pattern=tuple(pattern.tolist()),
        alpha=DEFAULT_ALPHA,
        point_forecast=float(point[0]),
        interval_lower=interval.lower,
        interval_upper=interval.upper,
        home_lead_probability=float(stage.scores.home_lead_probability(point)[0]),
    )


def _libraries() -> dict[str, str]:
    names = ("dejavu-forecast", "hnswlib", "numpy", "onnx", "onnxruntime", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
