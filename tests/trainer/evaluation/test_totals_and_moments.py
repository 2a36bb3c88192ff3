"""Scores of totals and at moments: of what a server forecasts, from earlier games alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.folds import (
    paced_games,
    random_walks,
    steady_lstm,
    walks_database,
    with_moments,
    with_total_lines,
)
from tests.support.builders.models import symmetric_model
from tests.support.harness.present import present

from dejavu_feed.live_inputs import COLUMNS, LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import period_of, period_seconds
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.moments import MomentModel
from dejavu_models.totals import Totals
from dejavu_models.types import CASES, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.margin_model import LiveKind
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import served_bundle
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import MOMENTS, TOTALS, Table
from dejavu_trainer.evaluation.fold_scores import LINE, SERVED, score_moments
from dejavu_trainer.evaluation.totals import (
    FORMER_GAMES,
    LINE_RATE,
    RIVALS,
    pace_baseline,
    score_totals,
    season_mean_baseline,
    to_come,
)
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.moments import fit_moments
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.totals import TotalGames, carry_totals, fit_totals, total_games

STEPS = 3
FINAL = TOTALS[Horizon.FINAL]


@pytest.fixture(scope="module")
def games() -> Games:
    return paced_games(250, range(2020, 2025))


@pytest.fixture(scope="module")
def earlier(games: Games) -> Games:
    return games.select(games.season < 2024)


@pytest.fixture(scope="module")
def fitted(earlier: Games) -> Totals:
    """The models with which the season 2024 is scored."""
    return present(fit_totals(earlier, STEPS, lambda _: None))


@pytest.fixture(scope="module")
def scores(games: Games, earlier: Games, fitted: Totals) -> Table:
    return scored(fitted, earlier, games.of_seasons([2024]))


def scored(models: Totals, earlier: Games, test: Games) -> Table:
    """Return the scores of games of a season, in a table."""
    return Table({"game.season": test.season, "fold.season": test.season[:1], **score_totals(models, earlier, test)})


def at_24(table: Table, column: str) -> NDArray[Any]:
    """Return a column of the final total after minute 24, (games,)."""
    found: NDArray[Any] = table.of(FINAL, column)[table.of(FINAL, "second") == 60 * 24]
    return found


@pytest.fixture(scope="module")
def lined(games: Games) -> tuple[Games, Totals]:
    """The games with lines, and models fitted on those before 2024."""
    result = with_total_lines(games)
    models = present(fit_totals(result.select(result.season < 2024), STEPS, lambda _: None))
    return result, models


def scores_with_lines(lined: tuple[Games, Totals], count: int) -> Table:
    """Return the scores of 2024 with lines of its first games alone."""
    games, models = lined
    test = games.of_seasons([2024])
    test = replace(test, live=test.live.copy())
    test.live[count:, :, list(COLUMNS).index("pregame_total")] = np.nan
    return scored(models, games.select(games.season < 2024), test)


def test_it_scores_what_a_bundle_would_serve(games: Games, fitted: Totals, scores: Table) -> None:
    assert set(scores.forecasters(FINAL)) == {*SERVED, *RIVALS}
    test = games.of_seasons([2024])
    known = total_games(test, carry_totals(fitted.ratings, test)[0])
    made = fitted.models[MarginSource.KNOWN].distribution(Horizon.FINAL, 24, known.at(24))
    assert at_24(scores, "served.crps") == pytest.approx(made.crps(known.outcomes[:, 1]), rel=1e-5)
    assert at_24(scores, "served.lower_95").tolist() == made.intervals(0.05)[0].tolist()
    assert at_24(scores, "outcome").tolist() == test.final_total.tolist()


def test_forecasts_do_not_depend_on_games_of_the_day_or_later(
    games: Games, earlier: Games, fitted: Totals, scores: Table
) -> None:
    test = games.of_seasons([2024])
    later = test.date >= test.date[125]
    changed = replace(test, final_total=np.where(later, test.final_total + 30, test.final_total).astype(np.int16))
    other, until = scored(fitted, earlier, changed), test.date <= test.date[125]
    for name in scores.forecasters(FINAL):
        assert np.array_equal(*(at_24(each, f"{name}.point")[until] for each in (scores, other))), name


@pytest.mark.nightly
def test_with_the_line_it_is_the_expected_total_of_the_games_that_have_one(
    lined: tuple[Games, Totals], scores: Table
) -> None:
    found, having = scores_with_lines(lined, 200), np.arange(250) < 200
    assert set(found.forecasters(FINAL)) == {*SERVED, *RIVALS, LINE, LINE_RATE}
    for name in scores.forecasters(FINAL):
        assert np.array_equal(scores.of(FINAL, f"{name}.point"), found.of(FINAL, f"{name}.point")), name
    for name, without in ((LINE, "served"), (LINE_RATE, "pace")):
        same = np.equal(*(at_24(found, f"{each}.crps") for each in (name, without)))
        assert same[~having].all()
        assert not same[having].all()
    early = np.flatnonzero(found.of(FINAL, "second") == 360)[having]
    line, served, rate = (found.of(FINAL, f"{name}.crps")[early].mean() for name in (LINE, "served", LINE_RATE))
    assert line < min(0.9 * served, 1.02 * rate)


def games_of(count: int, seasons: range, seed: int = 0) -> TotalGames:
    games = paced_games(count, seasons, seed)
    return total_games(games, np.zeros(len(games)))


PAST, GAMES = games_of(300, range(2020, 2022)), games_of(200, range(2022, 2023), seed=4)


def test_pace_expects_the_rate_so_far_to_go_on() -> None:
    even = GAMES._replace(points=np.tile(5.0 * np.arange(1, 48), (200, 1)), outcomes=np.tile([120.0, 240.0], (200, 1)))
    found = pace_baseline(PAST, even)
    for column, (index, _) in enumerate(CASES):
        assert found["point"][:, column] == pytest.approx((120.0, 240.0)[index])


def test_the_seasons_mean_is_of_earlier_days_and_starts_with_the_season_before() -> None:
    found = season_mean_baseline(PAST, GAMES)
    points = GAMES.points[:, [minute - 1 for _, minute in CASES]]
    former = to_come(PAST)[PAST.season == 2021].mean(axis=0)
    first, last = GAMES.date == GAMES.date[0], GAMES.date == GAMES.date[-1]
    assert found["point"][first] == pytest.approx(points[first] + former, rel=1e-5)
    came = to_come(GAMES)[~last]
    mean = (came.sum(axis=0) + FORMER_GAMES * former) / (len(came) + FORMER_GAMES)
    assert found["point"][last] == pytest.approx(points[last] + mean, rel=1e-5)


STATES = with_moments(random_walks(300, range(2020, 2025)))
RATED = RatedGames(STATES, np.random.default_rng(1).normal(0, 4, len(STATES)))
EARLIER, TEST = RATED.select(STATES.season < 2024), RATED.select(STATES.season == 2024)
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


def moments_scored(test: RatedGames) -> Table:
    columns = score_moments(ensemble(), CALIBRATION, moment_tables(), EARLIER, test)
    return Table({"fold.season": np.array([2024]), "game.season": test.games.season, **columns})


@cache
def moment_scores() -> Table:
    return moments_scored(TEST)


def query_of(horizon: Horizon, game: int, elapsed: float) -> ForecastQuery | None:
    """Return the query of a moments_scored state; None if its pattern would have to agree with it."""
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
        game, second, probability = (
            moment_scores().of(target, name) for name in ("game", "second", "served.probability")
        )
        for row in range(0, len(game), len(game) // 250):
            query = query_of(horizon, int(game[row]), float(second[row]))
            if query is not None:
                assert model.forecast(query).home_lead_probability == pytest.approx(probability[row], abs=1e-5)
                compared += 1
    assert compared > 100


def test_scores_do_not_depend_on_how_other_games_ended() -> None:
    changed = replace(TEST.games, final=TEST.games.final.copy())
    changed.final[100:] *= -1
    other = moments_scored(RatedGames(changed, TEST.margins))
    for target in MOMENTS.values():
        until = moment_scores().of(target, "game") < 100
        for name in ("served.probability", "served.crps", "served.pit"):
            assert np.array_equal(moment_scores().of(target, name)[until], other.of(target, name)[until])
        logistic = "logistic.probability"
        assert np.array_equal(moment_scores().of(target, logistic), other.of(target, logistic))
