"""Scores at moments: of what is served, against references fitted on earlier games, by time left."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.folds import result_of_two_folds, walk_fold
from tests.support.builders.random_walks import random_walks, with_moments
from tests.support.builders.similar_games import steady_lstm, walks_database

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import period_of, period_seconds
from dejavu_models.arrays import Singles
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.metrics import Estimate
from dejavu_models.moments.model import MomentModel
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_store.registry import Registry
from dejavu_trainer.evaluation.acceptance import moment_checks
from dejavu_trainer.evaluation.moments import BANDS, OVERTIME, MomentFigures, compute_moment_metrics
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.moments import COLUMNS_SCORED, score_moments
from dejavu_trainer.reports.backtest import moments, tables
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.moments import fit_moments
from dejavu_trainer.training.ratings import RatedGames

GAMES = with_moments(random_walks(300, range(2020, 2025)))
RATED = RatedGames(GAMES, np.random.default_rng(1).normal(0, 4, len(GAMES)))
EARLIER, TEST = RATED.select(GAMES.season < 2024), RATED.select(GAMES.season == 2024)
CALIBRATION = LatticeCalibration(
    {(source, kind): symmetric_model(kind) for source in MarginSource for kind in LiveKind}
)


@cache
def ensemble() -> Ensemble:
    linear = fit_linear(*EARLIER, curved=True)
    return Ensemble(linear, walks_database(), steady_lstm(0.3, 0.1), Weights.fixed(0.5, 0.3, 0.2))


@cache
def moment_tables() -> MomentModel:
    model = fit_moments(EARLIER.games)
    assert model is not None
    return model


def scored(test: RatedGames) -> Singles:
    return score_moments(ensemble(), CALIBRATION, moment_tables(), EARLIER, test)


@cache
def scores() -> Singles:
    return scored(TEST)


def column(name: str, of: Singles | None = None) -> Singles:
    return (scores() if of is None else of)[:, COLUMNS_SCORED.index(name)]


def fold(of: Singles) -> FoldScores:
    """Return a fold of as many games with these scores."""
    return replace(walk_fold(), moments=of)


def query_of(row: dict[str, float]) -> ForecastQuery | None:
    """Return the query of a scored state; None if its pattern would have to agree with it."""
    horizon, game, elapsed = HORIZONS[int(row["horizon"])], int(row["game"]), row["elapsed_s"]
    states = TEST.games.moments[game]
    _, lead, total, side, in_air, _ = states[states[:, 0] == elapsed][0].tolist()
    period = period_of(elapsed)
    end = 720 * min(period, 4) + 300 * max(period - 4, 0)
    moment = Moment(period, min(end - elapsed, period_seconds(period)), int(lead))
    if not elapsed % 60 or abs(lead) > total:
        return None
    live = LiveInputs(total_points=int(total), possession=Possession(Side(int(side)), in_air > 0))
    margin = float(TEST.margins[game])
    pattern = ScorePattern(tuple(TEST.games.levels[game, : moment.slots].tolist()))
    return ForecastQuery(pattern, horizon, pregame_margin=margin, moment=moment, live=live)


def test_it_scores_what_a_server_forecasts() -> None:
    shipped = Registry.load([]).get()
    model = Forecaster(shipped.manifest, ensemble(), CALIBRATION, shipped.rating_filter, moments=moment_tables())
    compared = 0
    for values in scores()[:: len(scores()) // 500].tolist():
        row = dict(zip(COLUMNS_SCORED, values, strict=True))
        query = query_of(row)
        if query is not None:
            assert model.forecast(query).home_lead_probability == pytest.approx(row["served"], abs=1e-5)
            compared += 1
    assert compared > 100


def test_outcomes_and_references_are_those_of_the_games() -> None:
    for index, horizon in enumerate(HORIZONS):
        rows = column("horizon") == index
        game = column("game")[rows].astype(int)
        assert (column("happened")[rows] == (TEST.games.outcomes[game, index] > 0)).all()
        first, end = 60 * (horizon.minutes - (2 if horizon is Horizon.HALFTIME else 4)), 60 * horizon.minutes
        elapsed = column("elapsed_s")[rows]
        assert elapsed.min() >= first
        assert horizon is Horizon.FINAL or elapsed.max() < end
    assert set(np.unique(column("leader")).tolist()) == {0.0, 0.5, 1.0}


def test_scores_do_not_depend_on_how_other_games_ended() -> None:
    changed = replace(TEST.games, final=TEST.games.final.copy())
    changed.final[100:] *= -1
    other = scored(RatedGames(changed, TEST.margins))
    until = column("game") < 100
    for name in ("served", "logistic", "crps", "pit"):
        assert np.array_equal(column(name)[until], column(name, other)[until])
    assert np.array_equal(column("logistic"), column("logistic", other))


@pytest.fixture(scope="module")
def figures() -> MomentFigures:
    found = compute_moment_metrics([fold(scores()), fold(scores())], resamples=200)
    assert found is not None
    return found


def test_a_game_counts_as_one_and_folds_are_pooled(figures: MomentFigures) -> None:
    for index, horizon in enumerate(HORIZONS):
        bands = figures[horizon.value]
        assert set(bands) - {OVERTIME} <= set(BANDS[horizon])
        (first, *_), (since, until) = bands, next(iter(BANDS[horizon].values()))
        left = 60 * horizon.minutes - column("elapsed_s")
        rows = (column("horizon") == index) & (left > since) & (left <= until)
        game = column("game")[rows].astype(int)
        squared = np.square(column("served")[rows] - column("happened")[rows])
        by_game = np.bincount(game, squared) / np.maximum(np.bincount(game), 1)
        assert bands[first].games == 2 * len(np.unique(game))
        assert bands[first].moments == 2 * rows.sum()
        assert bands[first].brier["served"].value == pytest.approx(by_game[np.bincount(game) > 0].mean(), abs=1e-6)
        assert bands[first].brier["served"].value < bands[first].brier["leader"].value


def test_the_checks_follow_the_figures(figures: MomentFigures) -> None:
    below, above = Estimate(-0.1, -0.2, -0.05), Estimate(0.1, 0.05, 0.2)
    final = figures[Horizon.FINAL.value]
    assert set(final) >= {"44:00–48:00", "last minute", OVERTIME}

    def checked(difference: Estimate, ece: float, held: float) -> list[bool]:
        changed = {
            name: replace(
                band, brier_difference=difference, log_loss_difference=difference, ece=ece,
                coverage={**band.coverage, "95": Estimate(held, held, held)},
            )
            for name, band in final.items()
        }  # fmt: skip
        return [check.passed for check in moment_checks({**figures, Horizon.FINAL.value: changed})]

    assert checked(below, 0.01, 0.96) == [True] * 5
    assert checked(above, 0.03, 0.98) == [False] * 5


def test_the_report_has_a_table_by_horizon(figures: MomentFigures) -> None:
    for horizon, bands in figures.items():
        table = moments(horizon.capitalize(), bands)
        assert [row[0] for row in table.rows] == list(bands)
        assert all(len(row) == len(table.header) for row in table.rows)
    result = result_of_two_folds()[0]
    assert result.moments is None
    assert not [table for table in tables(result) if "at moments" in table.title]
    shown = [table.title for table in tables(replace(result, moments=figures))]
    assert {"Halftime: at moments", "Final: at moments"} <= set(shown)


def test_folds_without_states_have_no_figures() -> None:
    empty = np.empty((0, len(COLUMNS_SCORED)), np.float32)
    assert compute_moment_metrics([fold(empty)], resamples=10) is None
