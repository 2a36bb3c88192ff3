"""Games whose differential is a random walk between teams of known strength: folds of them, and similar games."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.support.builders.made_once import computed_once

from dejavu_feed.live_inputs import COLUMNS
from dejavu_feed.teams import TEAMS
from dejavu_models.arrays import Floats
from dejavu_models.components.component import DejavuConfig
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.features import LIVE_CHANNELS, OUTPUTS, STEP_CHANNELS, Rows
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.metrics import Estimate
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_trainer.data.events import no_box_scores
from dejavu_trainer.data.games import Games, no_moments
from dejavu_trainer.evaluation.backtest import BacktestResult, RunProvenance, result_of
from dejavu_trainer.evaluation.figures import ALPHAS, LEVELS, MARGINS, Columns, Figures, Table
from dejavu_trainer.evaluation.fold_scores import SERVED, STATIC, score_fold
from dejavu_trainer.training.calibrate import conformalized, fit_tables, training_games
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.weights import live_rows


def rated_walks(games_a_season: int, seasons: range, seed: int) -> RatedGames:
    """Return walks with known expected margins, whose standard deviation is 12 points."""
    games = random_walks(games_a_season, seasons, seed)
    margins = np.random.default_rng(seed + 1).normal(0, 12.0, len(games))
    drift = np.round(margins[:, None] * np.arange(1, 49) / 48).astype(np.int16)
    final = games.final + drift[:, -1]
    final[final == 0] = 1
    differentials = games.differentials + drift
    scoring = scoring_for(differentials, final)
    return RatedGames(replace(games, differentials=differentials, final=final, **scoring), margins)


def walk_fold(season: int = 2033, games: int = 300, seed: int = 0, *, scale: float = 1.0) -> Table:
    """Score the linear models on walks: fitted on two seasons, calibrated on one, tested on the next.

    Each fold is computed once a run. Tables with live inputs need 500 games a season or more.

    Args:
        season: test season.
        games: number of games per season.
        seed: seed of the walks.
        scale: factor of the widths of the models' intervals.
    """

    def score() -> Table:
        rated = rated_walks(games, range(season - 3, season + 1), seed)
        earlier = rated.select(rated.games.season < season)
        calibrate, test = rated.of_seasons([season - 1]), rated.of_seasons([season])
        models, calibration = walk_models(season, games, seed)
        return score_fold(
            models,
            calibration,
            earlier=earlier,
            calibrate=calibrate,
            test=test,
            frozen_margins=test.margins / 2,
        )

    fold = computed_once(f"fold-{season}-{games}-{seed}", score)
    return fold if scale == 1.0 else Table(fold.columns | _scaled(fold, scale))


def walk_models(season: int, games: int, seed: int) -> tuple[Ensemble, LatticeCalibration]:
    """Return the models and calibration that `walk_fold` scores. Fitted once a run."""

    def fit() -> tuple[LinearModels, LatticeCalibration]:
        rated = rated_walks(games, range(season - 3, season + 1), seed)
        train, calibrate = rated.select(rated.games.season < season - 1), rated.of_seasons([season - 1])
        linear = fit_linear(*train)
        return linear, walk_calibration(Ensemble(linear), train, calibrate)

    linear, calibration = computed_once(f"models-{season}-{games}-{seed}", fit)
    return Ensemble(linear), calibration


def walk_calibration(models: Ensemble, train: RatedGames, calibrate: RatedGames) -> LatticeCalibration:
    """Fit tables on earlier walks and calibrate them on later ones; frozen ratings give half the margin."""
    return conformalized(fit_tables(train, train.margins / 2), models, calibrate, calibrate.margins / 2)


def _scaled(fold: Table, scale: float) -> Columns:
    from scipy import special  # imported late: it takes a second

    result: Columns = {}
    for target, name in product(MARGINS.values(), (*SERVED, STATIC)):
        point, reach = fold.of(target, f"{name}.point"), np.abs(special.ndtri(fold.of(target, f"{name}.pit")))
        for level, alpha in zip(LEVELS, ALPHAS, strict=True):
            for end in ("lower", "upper"):
                column = f"{name}.{end}_{level}"
                result[f"{target}.{column}"] = point + scale * (fold.of(target, column) - point)
            result[f"{target}.{name}.held_{level}"] = reach <= scale * special.ndtri(1 - alpha / 2)
    return result


RUN = RunProvenance(recipe="0123456789abcdef", seed=0, data="f" * 64)
"""Provenance of `result_of_two_folds`."""


def two_folds() -> list[Table]:
    """Return two seasons of 300 walks each."""
    return [walk_fold(2033), walk_fold(2034, seed=8)]


@cache
def result_of_two_folds() -> BacktestResult:
    """Return the result of `two_folds` from 50 resamples."""
    return result_of(two_folds(), RUN, resamples=50)


def linear_points(models: Ensemble, rated: RatedGames, mode: MarginSource, minute: int) -> np.ndarray:
    """Return the point forecasts of the linear models: (n, 2), in points."""
    lead = rated.games.levels[:, minute - 1]
    margins = {
        MarginSource.KNOWN: rated.margins,
        MarginSource.RATED: rated.margins / 2,
        MarginSource.UNKNOWN: np.full(len(lead), np.nan),
    }[mode]
    points: np.ndarray = lead[:, None] + models.linear.increments(minute, lead, margins)
    return points


def figure(
    figures: Figures, target: str, forecaster: str, metric: str, reference: str = "", **options: str
) -> Estimate:
    """Return a figure that must be there; arguments of `Figures.get`."""
    found = figures.get(target, forecaster, metric, reference, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def random_walks(games_a_season: int, seasons: range, seed: int = 0) -> Games:
    """Return games with changes of about ±2.5 points a minute; four a day from the first of November."""
    rng = np.random.default_rng(seed)
    count = games_a_season * len(seasons)
    differentials = np.round(rng.normal(0.05, 2.5, (count, 48)).cumsum(axis=1)).astype(np.int16)
    season = np.repeat(np.array(seasons, dtype=np.int16), games_a_season)
    day = np.tile(np.arange(games_a_season) // 4, len(seasons)).astype("timedelta64[D]")
    first = np.array([f"{year - 1}-11-01" for year in season.tolist()], dtype="datetime64[D]")
    teams = rng.permuted(np.tile(np.array(sorted(TEAMS)), (count, 1)), axis=1)[:, :2]
    final = differentials[:, -1].copy()
    final[final == 0] = 1
    return Games(
        game_id=np.array([f"walk{number:06d}" for number in range(count)]),
        season=season,
        date=first + day,
        phase=np.full(count, "RS"),
        home=teams[:, 0],
        away=teams[:, 1],
        differentials=differentials,
        final=final,
        **scoring_for(differentials, final),
        line=np.full(count, np.nan, dtype=np.float32),
        box_scores=no_box_scores(count),
        moments=no_moments(count),
    )


def scoring_for(differentials: NDArray[np.int16], final: NDArray[np.int16]) -> dict[str, Any]:
    """Return totals and last scores that fit differentials: each minute has two points more than the change.

    The last points of a minute are scored 7 s before its end, by the side that the differential moved to.

    Args:
        differentials: (n, 48) home − away at the end of minutes 1 … 48, in points.
        final: (n,) final home − away, in points.
    """
    changes = np.diff(differentials, axis=1, prepend=0)
    totals = (np.abs(changes) + 2).cumsum(axis=1).astype(np.int16)
    known = {"total_points": totals, "last_score_side": np.where(changes >= 0, 1, -1), "last_score_seconds": 7}
    live = np.full((*changes.shape, len(COLUMNS)), np.nan, np.float32)
    for name, values in known.items():
        live[:, :, list(COLUMNS).index(name)] = values
    return {
        "live": live,
        "final_total": (totals[:, -1] + np.abs(final - differentials[:, -1])).astype(np.int16),
    }


def with_column(games: Games, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the live inputs of games with one column replaced."""
    live = games.live.copy()
    live[:, :, list(COLUMNS).index(name)] = values
    return live


def with_moments(games: Games) -> Games:
    """Return games with states every ten seconds before half and end, between those of the minutes, and in overtime.

    The sides have the ball in turn, and a shot is in the air in every fourth state.
    """
    at = np.concatenate([np.arange(1260, 1440, 10), np.arange(2520, 2880, 10)])
    before = games.differentials[:, at // 60 - 1].astype(np.float64)
    leads = np.rint(before + (games.differentials[:, at // 60] - before) * (at % 60) / 60)
    turn = np.arange(len(at))
    moments = no_moments(len(games))
    for row, of_game in enumerate(leads):
        states = np.stack(
            [at, of_game, 4.0 * (at // 60) + of_game % 2, np.where(turn % 2, 1, -1), turn % 4 == 0, 0 * turn], axis=1
        )
        if games.differentials[row, -1] == 0:
            overtime = [(2880.0 + second, np.sign(games.final[row]), 201.0, 1.0, 0.0, 0.0) for second in (30, 150, 290)]
            states = np.concatenate([states, overtime])
        moments[row] = states.astype(np.float32)
    return replace(games, moments=moments)


def with_total_lines(games: Games) -> Games:
    """Return games whose final total a market expects with a standard error of 12 points."""
    rng = np.random.default_rng(11)
    line = np.round(2 * (games.final_total + rng.normal(0, 12.0, len(games)))) / 2
    return replace(games, live=with_column(games, "pregame_total", np.repeat(line[:, None], 48, axis=1)))


def paced_games(count: int, seasons: range, seed: int = 0) -> Games:
    """Return games whose teams each have a pace; the rate of points is proportional to the product of both."""
    games = random_walks(count, seasons, seed)
    rng = np.random.default_rng(seed + 7)
    pace = dict(zip(sorted(TEAMS), np.exp(np.random.default_rng(3).normal(0, 0.05, len(TEAMS))), strict=True))
    rate = np.array([4.6 * pace[one] * pace[other] for one, other in zip(games.home, games.away, strict=True)])
    night = np.exp(rng.normal(0, 0.06, len(games)))
    points = np.maximum(rng.poisson((rate * night)[:, None], (len(games), 48)), 0).cumsum(axis=1)
    differentials = np.clip(games.differentials, -points, points)
    points += (points + differentials) % 2  # home + away and home − away are both even or both odd
    points = np.maximum.accumulate(points, axis=1)
    return replace(
        games,
        differentials=differentials.astype(np.int16),
        live=with_column(games, "total_points", points),
        final_total=points[:, -1].astype(np.int16),
    )


def walks_database(games: int = 240, groups: int = 30, nearest: int = 10) -> Dejavu:
    """Return a database of `walked` with residuals of normal size. Built once a run."""

    def build() -> bytes:
        residuals = np.random.default_rng(2).normal(0.2, 1.0, (games, len(CASES)))
        return database_of(walked(games), residuals, groups, nearest).to_bytes()

    return Dejavu.from_bytes(computed_once(f"database-{games}-{groups}-{nearest}", build))


def database_of(rated: RatedGames, residuals: Floats, groups: int = 30, nearest: int = 10) -> Dejavu:
    """Return a database of games with these standardised residuals, (n, cases)."""
    return Dejavu.fit(training_games(rated, np.tile(residuals, (2, 2, 1, 1))), 0, DejavuConfig(groups, nearest))


def walked(games: int, seed: int = 1) -> RatedGames:
    """Return random walks of one season."""
    return rated_walks(games, range(2030, 2031), seed)


def rows_of(rated: RatedGames, minute: int) -> Rows:
    """Return games as they are after a minute, with margins and live inputs."""
    return Rows(rated.games.levels[:, :minute], rated.margins, live_rows(rated.games)[:, minute - 1])


def mirrored(rows: Rows) -> Rows:
    """Return games with home and away exchanged."""
    return Rows(-rows.patterns, -rows.margins, rows.live * [1, -1, 1, -1, 1])


def steady_lstm(mean: float = 0.0, log_scale: float = 0.0) -> Lstm:
    """Return a network with the same outputs for every game, minute and horizon."""
    horizons = len(HORIZONS)
    weights = {
        "scale": np.ones(STEP_CHANNELS, np.float32),
        "input": np.zeros((4, STEP_CHANNELS), np.float32),
        "recurrent": np.zeros((4, 1), np.float32),
        "bias": np.zeros(4, np.float32),
        "head": np.zeros((1 + LIVE_CHANNELS, OUTPUTS), np.float32),
        "head_bias": np.repeat(np.array([mean, log_scale], np.float32), horizons),
        "spreads": np.ones((MAX_SLOTS, horizons), np.float32),
    }
    return Lstm({name: each[None] for name, each in weights.items()}, np.zeros(MAX_SLOTS + 1))
