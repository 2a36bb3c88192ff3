"""Runs the training pipeline, from games to a published bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dejavu_feed.off_season import is_over
from dejavu_models.components.registry import package_of
from dejavu_models.forecast_query import DEFAULT_ALPHA
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    CALIBRATION,
    LINEAR,
    MOMENTS,
    PLAYERS,
    RATINGS,
    SCHEMA_VERSION,
    TOTALS,
    WEIGHTS,
    Golden,
    LineageRecord,
    Manifest,
    MetricRecord,
    Part,
    RatingsRecord,
    component_file,
    version_of,
)
from dejavu_models.ratings import RatingFilter
from dejavu_models.totals.totals import Totals
from dejavu_models.types import Horizon
from dejavu_store.bundle import answered, check_target, publish
from dejavu_store.contents import linear_to_bytes, ratings_to_bytes
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.split import split_seasons
from dejavu_trainer.evaluation.verdict import holdout_verdict, verdict_of
from dejavu_trainer.execution import Progress
from dejavu_trainer.lineage import code_version, libraries
from dejavu_trainer.training.calibrate import CalibratedModels, fit_recipe, measure
from dejavu_trainer.training.ratings import rating_errors
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.totals import fit_totals

_GOLDEN = (
    (Horizon.HALFTIME, 6, True),
    (Horizon.HALFTIME, 18, False),
    (Horizon.FINAL, 18, True),
    (Horizon.FINAL, 41, False),
)
"""Golden queries, replayed when a bundle is checked: horizon, minute, whether the teams are given."""


@dataclass(frozen=True)
class FitReport:
    """Result of a training run.

    Attributes:
        forecaster: the published bundle, loaded back from disk.
        bundle: folder of the bundle.
        ratings: errors of the pregame expected margins on the calibration games; see `training.ratings.rating_errors`.
        note: limits of the verdict's meaning for these games; empty if there are none.
    """

    forecaster: Forecaster
    bundle: Path
    ratings: dict[str, tuple[float, float]]
    note: str


def fit(
    games: Games,
    *,
    train: Sequence[int],
    calibrate: Sequence[int],
    out: Path,
    seed: int = 0,
    recipe: TrainingConfig | None = None,
    backtest: Path | None = None,
    progress: Progress | None = None,
    lineage: LineageRecord | None = None,
) -> FitReport:
    """Train, calibrate and publish a bundle that forecasts both horizons from every minute.

    The same games, seasons, seed and recipe give the same model version on the same machine.

    Args:
        games: games of all the named seasons; other seasons are ignored.
        train: seasons to train on.
        calibrate: other seasons, to calibrate intervals and probabilities on.
        out: folder of the bundle; an existing bundle there is replaced.
        seed: random seed, at least 0.
        recipe: the training configuration; the default one if not given.
        backtest: result of a walk-forward with the same recipe; its verdict is used. Without one, the models are
            evaluated once, on the last of the calibration games.
        progress: receives progress updates.
        lineage: origin of the bundle; by default, only the version of the code. Does not change the model version.

    Raises:
        DataError: if the games can't be split as requested or are too few, or the backtest has another recipe or other
            games.
        FitError: if the LSTM can't be fitted.
        FileExistsError: if `out` is neither empty nor a bundle.
        BundleError: if the written bundle does not load back or fails its checks.
    """
    check_target(out)
    progress, recipe = progress or Progress(), recipe or TrainingConfig()
    to_train, to_calibrate = split_seasons(games, train, calibrate)
    used = games.of_seasons([*train, *calibrate])
    backtest_verdict, note = (None, "") if backtest is None else verdict_of(backtest, recipe, used)

    fitted = fit_recipe(to_train, to_calibrate, recipe, seed, progress)
    with progress.step("Fit the totals", recipe.rating_steps) as advance:
        totals = fit_totals(Games.joined([to_train, to_calibrate]), recipe.rating_steps, advance)
    verdict = backtest_verdict or holdout_verdict(fitted, progress)

    with progress.step("Publish", 1) as advance:
        errors = rating_errors(to_train, fitted.before, fitted.calibrate)
        metrics = measure(fitted.games, seed)
        metrics += _metrics_of(errors)
        season, newest = int(to_calibrate.season[-1]), to_calibrate.date[-1].item()
        season_served = season + is_over(season, newest)
        ratings = fitted.after.predict(season_served)
        contents = _contents(fitted, ratings, totals)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        ratings_record = RatingsRecord(date=ratings.newest, season=season_served, **asdict(ratings.settings))
        packages = {each.name: package_of(each.name) for each in fitted.models.others}
        draft = Manifest.model_construct(  # checked when it is published
            schema_version=SCHEMA_VERSION,
            version=version_of(ratings_record, hashes, packages),
            components=fitted.models.components,
            packages=packages,
            created_time=datetime.now(UTC),
            train=_part(to_train),
            calibrate=_part(to_calibrate),
            data_fingerprint=used.fingerprint,
            seed=seed,
            libraries=libraries(),
            ratings=ratings_record,
            verdict=verdict,
            metrics=tuple(metrics),
            golden=(),
            files=hashes,
            lineage=lineage or LineageRecord(code_version=code_version()),
        )
        forecaster = publish(out, _with_golden(draft, fitted, ratings), contents)
        advance(1)
    return FitReport(forecaster, out, errors, note)


def _contents(fitted: CalibratedModels, ratings: RatingFilter, totals: Totals | None) -> dict[str, bytes]:
    models = fitted.models
    contents = {
        **{component_file(each.name): each.to_bytes() for each in models.members},
        LINEAR: linear_to_bytes(models.linear),
        CALIBRATION: fitted.calibration.to_bytes(),
        RATINGS: ratings_to_bytes(ratings),
    }
    if models.members:
        contents[WEIGHTS] = models.weights.to_bytes()
    if totals is not None and ratings.season is not None:
        contents[TOTALS] = replace(totals, ratings=totals.ratings.predict(ratings.season)).to_bytes()
    if fitted.players is not None:
        contents[PLAYERS] = fitted.players.to_bytes()
    if fitted.moments is not None:
        contents[MOMENTS] = fitted.moments.to_bytes()
    return contents


def _part(games: Games) -> Part:
    seasons = tuple(int(season) for season in np.unique(games.season))
    return Part(seasons=seasons, games=len(games), first_date=games.date[0].item(), last_date=games.date[-1].item())


def _with_golden(draft: Manifest, fitted: CalibratedModels, ratings: RatingFilter) -> Manifest:
    """Return a manifest with golden answers, which the models in memory give as a server does."""
    games, model = fitted.calibrate.games, Forecaster(draft, fitted.models, fitted.calibration, ratings)
    golden = []
    for horizon, minute, with_teams in _GOLDEN:
        home, away = (str(games.home[-1]), str(games.away[-1])) if with_teams else ("", "")
        pattern = tuple(games.levels[-1, :minute].tolist())
        query = Golden.model_construct(
            horizon=horizon, pattern=pattern, home_team=home, away_team=away, alpha=DEFAULT_ALPHA
        )
        golden.append(answered(model, query))
    return draft.model_copy(update={"golden": tuple(golden)})


def _metrics_of(errors: dict[str, tuple[float, float]]) -> Iterator[MetricRecord]:
    """Yield the errors of the ratings."""
    for name, (mae, rmse) in errors.items():
        yield MetricRecord(name=f"calibration.expected_margin.{name}.mae", value=mae)
        yield MetricRecord(name=f"calibration.expected_margin.{name}.rmse", value=rmse)
