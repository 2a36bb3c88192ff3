"""Fits a recipe to games: ratings, models, and predictive distributions.

A training run, each fold of a backtest and the holdout test of a bundle all use `fit_recipe` and `CalibratedModels`, so
that the tested procedure is the published one.

The results of stages of a fit are kept by the content of their inputs: recipes that share a stage compute it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.components.component import Advance, Component, TrainingGames, ignore
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.ensemble import POOLED, Ensemble, Weights, component_class
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.manifest import MetricRecord
from dejavu_models.moments import MomentModel
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.types import CASES, HORIZONS, LINEAR_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.margin_model import COLUMNS, LiveKind, is_used
from dejavu_models.uncertainty.lattice.shapes import UNRANKED, ranks_of
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Progress
from dejavu_trainer.lineage import code_version, digest_of
from dejavu_trainer.training.lattice import MarginGames, fit_margin_model
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear, have_line, linear_points, out_of_season_points
from dejavu_trainer.training.moments import fit_moments
from dejavu_trainer.training.ratings import RatedGames, carry, fit_players, fit_ratings, margins_with_frozen_ratings
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.weights import (
    ServedTables,
    fits_live_tables,
    learn_weights,
    live_columns,
    live_rows,
    opinions_on,
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StageCache:
    """Results of stages in a folder, as JSON or arrays.

    Attributes:
        folder: the folder, created with the first result; None: nothing is kept.
    """

    folder: Path | None = None

    def get(
        self,
        name: str,
        inputs: Sequence[object],
        compute: Callable[[], R],
        write: Callable[[R], bytes],
        read: Callable[[bytes], R],
    ) -> R:
        """Return the result of a stage, computed if it is not there.

        Args:
            name: name of the stage, with the ending of its files: .json or .npz.
            inputs: all that its result depends on beside the version of the code: games, numbers, texts, dataclasses.
            compute: called without arguments.
            write: returns the content of the file of a result.
            read: the inverse of `write`; must not execute anything in the content.

        Raises:
            DataError: if a file in the folder is not what `write` returns; the message names it.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{digest_of([code_version(), name, *inputs], _plain)}-{name}"
        try:
            return read(path.read_bytes())
        except FileNotFoundError:
            result = compute()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, write(result))
            return result
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: is not a result of a stage: {str(error)[:200]}; delete it") from None


def _plain(value: Any) -> Any:
    return value.fingerprint if isinstance(value, Games) else asdict(value)


NO_CACHE: Final = StageCache()
"""Keeps nothing."""


_SHOWN = ((Horizon.HALFTIME, 6), (Horizon.HALFTIME, 18), (Horizon.FINAL, 18), (Horizon.FINAL, 36))
"""Situations whose point forecast errors are recorded in the bundle."""


MIN_FOLLOWED_GAMES = 1000
"""Minimum number of games with the live inputs of a kind for tables that use them."""

_SETTINGS: Final = TypeAdapter(RatingSettings)

_RANKS_SEED: Final = 48
"""Seed of the random places of outcomes within their whole number; see `LatticeDistribution.pit`."""


@dataclass(frozen=True)
class CalibratedModels:
    """Trained models with their predictive distributions, and the games behind both.

    Models and tables are fitted on the earlier games. The newest ones, which they have not seen, give the components
    their weights, calibrate the distributions, and bring ratings and totals up to date.

    Attributes:
        recipe: the training configuration.
        seed: random seed of the training.
        models: the components with their weights.
        train: the earlier games, on which models and tables are fitted, with margins from carried ratings.
        before: state of the ratings after them.
        calibration: the predictive distributions.
        calibrate: the newest games, with margins from carried ratings.
        after: state of the ratings after all games.
        players: ratings of players after all games; None if too few games have box scores.
        moments: tables of moments, fitted on all games; None if too few have states at moments.
    """

    recipe: TrainingConfig
    seed: int
    models: Ensemble
    train: RatedGames
    before: RatingFilter
    calibration: LatticeCalibration
    calibrate: RatedGames
    after: RatingFilter
    players: PlayerRatings | None = None
    moments: MomentModel | None = None

    @property
    def games(self) -> RatedGames:
        """All games."""
        return RatedGames(
            Games.joined([self.train.games, self.calibrate.games]),
            np.concatenate([self.train.margins, self.calibrate.margins]),
        )

    def without(self, games: NDArray[np.bool_], progress: Progress | None = None) -> CalibratedModels:
        """Fit the same recipe without some of the newest games, given as a mask of `calibrate`."""
        return fit_recipe(self.train.games, self.calibrate.games.select(~games), self.recipe, self.seed, progress)


def fit_recipe(
    train: Games,
    calibrate: Games,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    stages: StageCache = NO_CACHE,
) -> CalibratedModels:
    """Fit ratings, models and predictive distributions to games.

    The same games, recipe and seed give the same models on the same machine.

    Args:
        train: the earlier games, on which models and tables are fitted.
        calibrate: the newest games, later than those; they give the weights, and their ranks calibrate the
            distributions.
        recipe: the training configuration.
        seed: random seed, at least 0.
        progress: receives progress updates.
        stages: keeps the results of stages.

    Raises:
        DataError: if there are too few games.
        FitError: if a component can't be fitted.
    """
    progress = progress or Progress()
    rated = train, recipe.rating_steps
    with progress.step("Fit the ratings", recipe.rating_steps) as advance:
        settings = stages.get(
            "ratings.json",
            rated,
            lambda: fit_ratings(train, recipe.rating_steps, advance),
            _SETTINGS.dump_json,
            _SETTINGS.validate_json,
        )
    start = RatingFilter.start(settings)
    of_train, before = carry(start, train)
    of_calibrate, after = carry(before, calibrate)
    linear = fit_linear(*of_train, curved=True)
    with progress.step("Fit the tables", len(MarginSource)) as advance:
        tables = stages.get(
            "tables.npz",
            rated,
            lambda: fit_tables(of_train, frozen_before_each_season(start, of_train), advance),
            LatticeCalibration.to_bytes,
            LatticeCalibration.from_bytes,
        )
    models = _components(linear, tables, of_train, recipe, seed, progress, stages)
    with progress.step("Calibrate", len(LINEAR_SOURCES) + len(MarginSource)) as advance:
        frozen = margins_with_frozen_ratings(before, calibrate)
        models = replace(models, weights=_weights(models, tables, of_calibrate, recipe, advance))
        calibration = conformalized(tables, models, of_calibrate, frozen, advance)
    fitted = CalibratedModels(recipe, seed, models, of_train, before, calibration, of_calibrate, after)
    return replace(fitted, players=fit_players(*fitted.games), moments=fit_moments(fitted.games.games))


def _components(
    linear: LinearModels,
    tables: LatticeCalibration,
    rated: RatedGames,
    recipe: TrainingConfig,
    seed: int,
    progress: Progress,
    stages: StageCache,
) -> Ensemble:
    """Return the components of a recipe, without weights; see `fit_recipe`."""
    games, members = training_games(rated, _residuals(tables, rated)), list[Component]()
    for name in recipe.components:
        if name == "dejavu":
            with progress.step("Build the Dejavu database", MAX_SLOTS) as advance:
                members.append(Dejavu.fit(games, seed, recipe.dejavu, advance))
        elif name == "lstm":
            with progress.step("Train the LSTM", recipe.lstm.steps) as advance:
                inputs = rated.games, recipe.rating_steps, recipe.lstm, seed
                fit = partial(Lstm.fit, games, seed, recipe.lstm, advance)
                members.append(stages.get("lstm.npz", inputs, fit, Lstm.to_bytes, Lstm.from_bytes))
        else:
            with progress.step(f"Fit the component {name}", 1) as advance:
                members.append(component_class(name).fit(games, seed))
                advance(1)
    names = tuple(dict.fromkeys((*POOLED, *recipe.components)))
    return Ensemble(linear, tuple(members), Weights.fixed(1.0, names=names))


def training_games(rated: RatedGames, residuals: Floats) -> TrainingGames:
    """Return games with their standardised residuals, see `TrainingGames`, as components are fitted to them."""
    games = rated.games
    return TrainingGames(
        home=games.home,
        away=games.away,
        date=games.date,
        differentials=games.differentials,
        outcomes=games.outcomes.astype(np.float64),
        totals=games.totals,
        final_total=games.final_total,
        margins=rated.margins,
        live=live_rows(games),
        residuals=residuals,
    )


def _residuals(tables: LatticeCalibration, rated: RatedGames) -> Floats:
    """Return the standardised residuals of games by linear models of the other seasons.

    Returns:
        (2 margin sources, 2, n, cases): without and with live inputs.
    """
    by_source = {MarginSource.UNKNOWN: np.full_like(rated.margins, np.nan), MarginSource.KNOWN: rated.margins}
    points = out_of_season_points(rated, by_source)
    result = np.empty((len(by_source), 2, len(rated.games), len(CASES)))
    for source, margins in by_source.items():
        for with_live in (False, True):
            kinds = (*(tables.kinds(source) if with_live else ()), LiveKind.NONE)
            served = ServedTables([tables.model(source, kind) for kind in kinds], rated.games)
            result[source, int(with_live)] = served.residuals(points[source], margins)
    return result


def _weights(
    models: Ensemble, tables: LatticeCalibration, rated: RatedGames, recipe: TrainingConfig, advance: Advance
) -> Weights:
    """Return the weights that a recipe fixes, or those learned from games that the components have not seen."""
    if (fixed := recipe.weights) is not None:
        names = models.weights.names
        rest = [fixed.get(name, 0.0) for name in names[1:]]
        return Weights.fixed(1 - sum(rest), *rest, names=names)
    games, lined = rated.games, have_line(rated.games)
    by_source = {
        MarginSource.UNKNOWN: RatedGames(games, np.full_like(rated.margins, np.nan)),
        MarginSource.KNOWN: rated,
    }
    if tables.has_line and lined.any():
        by_source[MarginSource.LINE] = RatedGames(games.select(lined), games.line[lined].astype(np.float64))
    return learn_weights(models, tables, by_source, advance)


def frozen_before_each_season(start: RatingFilter, rated: RatedGames) -> Floats:
    """Return the margins of games with ratings frozen before their season, (n,), in points.

    Before the first season there are no ratings: its games keep their carried margins.
    """
    games, result = rated.games, rated.margins.copy()
    later = games.season > games.season[0]
    if later.any():
        _, state = carry(start, games.select(~later))
        result[later] = margins_with_frozen_ratings(state, games.select(later))
    return result


def fit_tables(rated: RatedGames, frozen_margins: Floats, advance: Advance = ignore) -> LatticeCalibration:
    """Fit the tables of every margin source, from residuals of unseen seasons.

    Args:
        rated: n games, with margins from carried ratings.
        frozen_margins: (n,), margins with ratings frozen before each season, in points.
        advance: called with 1 after each source.

    Returns:
        The calibration without ranks, rounded as it is stored in a bundle.
    """
    games = rated.games
    by_source = _margins_by_source(rated, frozen_margins)
    points = out_of_season_points(rated, by_source)
    totals = np.stack([games.totals[:, Horizon.HALFTIME.minutes - 1], games.final_total], axis=1).astype(np.float64)
    of_kinds = {kind: (live_columns(games, kind)[0], fits_live_tables(games, kind)) for kind in COLUMNS}
    models = {}
    for source, of_source in by_source.items():
        advance(1)
        used = _with_source(source, games)
        if source is MarginSource.LINE and used.sum() < LEAST_LINES:
            continue
        residuals = np.stack(
            [games.outcomes[:, index] - points[source][:, minute - 1, index] for index, minute in CASES], axis=1
        )
        to_fit = MarginGames(games.levels, games.outcomes, np.nan_to_num(of_source), residuals)
        models[source, LiveKind.NONE] = fit_margin_model(to_fit.select(used))
        for kind, (live, fits) in of_kinds.items():
            followed = used & fits
            if followed.sum() >= MIN_FOLLOWED_GAMES:
                of_kind = to_fit.select(followed)._replace(live=live[followed], totals=totals[followed])
                models[source, kind] = fit_margin_model(of_kind)
    return LatticeCalibration.from_bytes(LatticeCalibration(models).to_bytes())  # as a server reads it


def conformalized(
    tables: LatticeCalibration,
    models: Ensemble,
    rated: RatedGames,
    frozen_margins: Floats,
    advance: Advance = ignore,
) -> LatticeCalibration:
    """Calibrate tables by the ranks of games that neither they nor the models have seen (`lattice.shapes`).

    Args:
        tables: the tables.
        models: the components with their weights.
        rated: n calibration games, with margins from carried ratings.
        frozen_margins: (n,), margins with ratings frozen before each season, in points.
        advance: called with 1 after each source.

    Returns:
        The calibration, rounded as it is stored in a bundle. Tables without calibration games stay as they are.
    """
    games, result = rated.games, dict(tables.models)
    followed = {kind: live_columns(games, kind)[1] for kind in COLUMNS}
    places = np.random.default_rng(_RANKS_SEED).uniform(-0.5, 0.5, (len(games), len(CASES)))
    for source, margins in _margins_by_source(rated, frozen_margins).items():
        points = linear_points(models.linear, RatedGames(games, margins), line=source is MarginSource.LINE)
        for kind in LiveKind:
            model = tables.models.get((source, kind))
            used = np.flatnonzero(_with_source(source, games) & followed.get(kind, True))
            if model is None or not len(used):
                continue
            of_used = RatedGames(games.select(used), margins[used])
            opinions = opinions_on(models, source, of_used, with_live=bool(kind))
            served = ServedTables([model], of_used.games, opinions)
            transforms, cases = np.full((len(used), len(CASES)), 0.5), np.zeros((len(CASES), 1), dtype=bool)
            for row, (index, minute) in enumerate(CASES):
                if is_used(kind, minute):
                    _, made = served.distribution(points[used], margins[used], index, minute)
                    transforms[:, row], cases[row] = made.pit(games.outcomes[used, index], places[used, row]), True
            ranks = np.where(cases, ranks_of(transforms), UNRANKED)
            result[source, kind] = replace(model, ranks=ranks, games=len(used))
        advance(1)
    return LatticeCalibration.from_bytes(LatticeCalibration(result).to_bytes())


def _margins_by_source(rated: RatedGames, frozen_margins: Floats) -> dict[MarginSource, Floats]:
    """Return the expected margins of games, (n,) in points, by source; NaN where unknown."""
    return {
        MarginSource.UNKNOWN: np.full_like(rated.margins, np.nan),
        MarginSource.KNOWN: rated.margins,
        MarginSource.RATED: frozen_margins,
        MarginSource.LINE: rated.games.line.astype(np.float64),
    }


def _with_source(source: MarginSource, games: Games) -> NDArray[np.bool_]:
    """Return which games have an expected margin of a source, (n,)."""
    return have_line(games) if source is MarginSource.LINE else np.ones(len(games), dtype=bool)


def measure(rated: RatedGames, seed: int) -> list[MetricRecord]:
    """Compute errors of the linear models with known teams on unseen seasons.

    Each season is forecast by models of the other ones. The bundle has seen these games: to evaluate it, use a
    backtest, or `dejavu-trainer evaluate` on a later season. The seed is that of the bootstrap over games.
    """
    bootstrap = metrics.GameBootstrap(len(rated.games), seed=seed)
    points = out_of_season_points(rated, {MarginSource.KNOWN: rated.margins})[MarginSource.KNOWN]
    leads, outcomes = rated.games.levels, rated.games.outcomes
    forecasts = {"linear": points, "persistence": np.repeat(leads[:, :, None], len(HORIZONS), axis=2)}
    records = []
    for horizon, minute in _SHOWN:
        index = HORIZONS.index(horizon)
        name = f"unseen.{horizon.value}.minute_{minute}"
        errors = {
            model: np.abs(points[:, minute - 1, index] - outcomes[:, index]) for model, points in forecasts.items()
        }
        estimates = {f"{model}.mae": bootstrap.mean(error) for model, error in errors.items()}
        estimates["linear.mae_over_persistence"] = bootstrap.ratio(errors["linear"], errors["persistence"])
        records += [MetricRecord(name=f"{name}.{of}", **each._asdict()) for of, each in estimates.items()]
    return records
