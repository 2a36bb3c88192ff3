"""Scores at moments: of what is served, against references fitted on earlier games, by time left."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.random_walks import random_walks, with_moments
from tests.support.builders.similar_games import steady_lstm, walks_database
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import period_of, period_seconds
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.moments.model import MomentModel
from dejavu_models.types import Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import served_bundle
from dejavu_trainer.evaluation.scoring.moments import score_moments
from dejavu_trainer.evaluation.table import MOMENTS, Table
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
    return Ensemble(linear, (walks_database(), steady_lstm(0.3, 0.1)), Weights.fixed(0.5, 0.3, 0.2))


@cache
def moment_tables() -> MomentModel:
    return present(fit_moments(EARLIER.games))


def scored(test: RatedGames) -> Table:
    columns = score_moments(ensemble(), CALIBRATION, moment_tables(), EARLIER, test)
    return Table({"fold.season": np.array([2024]), "game.season": test.games.season, **columns})


@cache
def scores() -> Table:
    return scored(TEST)


def query_of(horizon: Horizon, game: int, elapsed: float) -> ForecastQuery | None:
    """Return the query of a scored state; None if its pattern would have to agree with it."""
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
    shipped = load_bundle(served_bundle())
    model = Forecaster(shipped.manifest, ensemble(), CALIBRATION, shipped.rating_filter, moments=moment_tables())
    compared = 0
    for horizon, target in MOMENTS.items():
        game, second, probability = (scores().of(target, name) for name in ("game", "second", "served.probability"))
        for row in range(0, len(game), len(game) // 250):
            query = query_of(horizon, int(game[row]), float(second[row]))
            if query is not None:
                assert model.forecast(query).home_lead_probability == pytest.approx(probability[row], abs=1e-5)
                compared += 1
    assert compared > 100


def test_scores_do_not_depend_on_how_other_games_ended() -> None:
    changed = replace(TEST.games, final=TEST.games.final.copy())
    changed.final[100:] *= -1
    other = scored(RatedGames(changed, TEST.margins))
    for target in MOMENTS.values():
        until = scores().of(target, "game") < 100
        for name in ("served.probability", "served.crps", "served.pit"):
            assert np.array_equal(scores().of(target, name)[until], other.of(target, name)[until])
        logistic = "logistic.probability"
        assert np.array_equal(scores().of(target, logistic), other.of(target, logistic))
