"""Scores of totals: of the served forecasts, from earlier games alone, stored and read back without a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.random_walks import paced_games, with_total_lines

from dejavu_feed.errors import DataError
from dejavu_feed.live_inputs import COLUMNS
from dejavu_models.totals.totals import Totals
from dejavu_models.types import CASES, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.backtest import backtest_totals
from dejavu_trainer.evaluation.scoring.forecasts import pool, to_bytes
from dejavu_trainer.evaluation.scoring.totals import (
    FORMER_GAMES,
    LINE,
    LINE_RATE,
    RIVALS,
    SERVED,
    TotalScores,
    pace_baseline,
    score_totals,
    season_mean_baseline,
    to_come,
)
from dejavu_trainer.training.totals import TotalGames, carry_totals, fit_totals, total_games

STEPS = 3


@pytest.fixture(scope="module")
def games() -> Games:
    return paced_games(250, range(2020, 2025))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `scores` are."""
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def scores(games: Games, stored: Path) -> TotalScores:
    found = backtest_totals(games, [2024], STEPS, stored)
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def earlier(games: Games) -> Games:
    return games.select(games.season < 2024)


@pytest.fixture(scope="module")
def fitted(earlier: Games) -> Totals:
    """The models with which the season 2024 is scored."""
    found = fit_totals(earlier, STEPS, lambda _: None)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def lined(games: Games) -> tuple[Games, Totals]:
    """The games with lines, and models fitted on those before 2024."""
    result = with_total_lines(games)
    models = fit_totals(result.select(result.season < 2024), STEPS, lambda _: None)
    assert models is not None
    return result, models


def scores_with_lines(lined: tuple[Games, Totals], count: int) -> TotalScores:
    """Return the scores of 2024 with lines of its first games alone."""
    games, models = lined
    test = games.of_seasons([2024])
    test = replace(test, live=test.live.copy())
    test.live[count:, :, list(COLUMNS).index("pregame_total")] = np.nan
    found = score_totals(models, games.select(games.season < 2024), test)
    assert found is not None
    return found


def test_it_scores_what_a_bundle_would_serve(games: Games, fitted: Totals, scores: TotalScores) -> None:
    assert set(scores.forecasts) == {*SERVED, *RIVALS}
    test = games.of_seasons([2024])
    known = total_games(test, carry_totals(fitted.ratings, test)[0])
    column = CASES.index((1, 24))
    made = fitted.models[MarginSource.KNOWN].distribution(Horizon.FINAL, 24, known.at(24))
    found = scores.forecasts["totals"]
    assert found.crps[:, column] == pytest.approx(made.crps(known.outcomes[:, 1]), rel=1e-5)
    assert found.lower is not None
    assert found.lower[:, column, 0].tolist() == made.intervals(0.05)[0].tolist()
    assert scores.outcomes[:, 1].tolist() == test.final_total.tolist()


def test_knowing_the_teams_beats_both_rivals_of_games_with_teams_of_different_pace(scores: TotalScores) -> None:
    column = CASES.index((1, 24))
    crps = {name: float(each.crps[:, column].mean()) for name, each in scores.forecasts.items()}
    assert crps["totals"] < 0.97 * min(crps["pace"], crps["season_mean"])


def test_forecasts_do_not_depend_on_games_of_the_day_or_later(
    games: Games, earlier: Games, fitted: Totals, scores: TotalScores
) -> None:
    test = games.of_seasons([2024])
    later = test.date >= test.date[125]
    changed = replace(test, final_total=np.where(later, test.final_total + 30, test.final_total).astype(np.int16))
    other = score_totals(fitted, earlier, changed)
    assert other is not None
    until = test.date <= test.date[125]
    for name, forecasts in scores.forecasts.items():
        assert np.array_equal(forecasts.point[until], other.forecasts[name].point[until]), name


@pytest.mark.nightly
def test_with_the_line_it_is_the_expected_total_of_the_games_that_have_one(
    lined: tuple[Games, Totals], scores: TotalScores
) -> None:
    found = scores_with_lines(lined, 200)
    assert set(found.forecasts) == {*SERVED, *RIVALS, LINE, LINE_RATE}
    for name, forecasts in scores.forecasts.items():
        assert np.array_equal(forecasts.point, found.forecasts[name].point), name
    having = np.arange(250) < 200
    for name, without in ((LINE, "totals"), (LINE_RATE, "pace")):
        with_line, as_before = found.forecasts[name].crps, found.forecasts[without].crps
        assert np.array_equal(with_line[~having], as_before[~having])
        assert not np.any(with_line[having] == as_before[having], axis=0).all()
    column = CASES.index((1, 6))
    crps = {name: float(each.crps[having, column].mean()) for name, each in found.forecasts.items()}
    assert crps[LINE] < 0.9 * crps["totals"]
    assert crps[LINE] < 1.02 * crps[LINE_RATE]
    pooled = pool([found, scores])
    assert set(pooled.forecasts) == {*SERVED, *RIVALS}


@pytest.mark.nightly
def test_a_line_of_few_games_is_not_scored(lined: tuple[Games, Totals]) -> None:
    assert set(scores_with_lines(lined, 120).forecasts) == {*SERVED, *RIVALS}


@pytest.mark.nightly
def test_games_without_points_are_left_out(games: Games) -> None:
    missing = replace(games, final_total=games.final_total.copy())
    missing.final_total[games.season == 2024] = -1
    assert backtest_totals(missing, [2024], STEPS) == []
    missing.final_total[-100:] = games.final_total[-100:]
    (found,) = backtest_totals(missing, [2024], STEPS)
    assert len(found) == 100
    # With too few games before, there is nothing to forecast with.
    assert backtest_totals(games, [2021], STEPS) == []


def test_scores_are_stored_pooled_and_read_back_as_they_were(
    games: Games, scores: TotalScores, stored: Path, tmp_path: Path
) -> None:
    (file,) = stored.iterdir()
    changed = file.stat().st_mtime_ns
    (again,) = backtest_totals(games, [2024], STEPS, stored)
    assert file.stat().st_mtime_ns == changed
    assert to_bytes(scores) == to_bytes(again)
    both = pool([scores, again])
    assert len(both) == 2 * len(scores)
    assert np.array_equal(both.forecasts["pace"].crps[len(scores) :], scores.forecasts["pace"].crps)
    (tmp_path / file.name).write_bytes(b"no")
    with pytest.raises(DataError, match="--fresh"):
        backtest_totals(games, [2024], STEPS, tmp_path)
    with pytest.raises(ValueError, match="no fold"):
        pool([])


def games_of(count: int, seasons: range, seed: int = 0) -> TotalGames:
    games = paced_games(count, seasons, seed)
    return total_games(games, np.zeros(len(games)))


PAST, GAMES = games_of(300, range(2020, 2022)), games_of(200, range(2022, 2023), seed=4)


def test_pace_expects_the_rate_so_far_to_go_on() -> None:
    even = GAMES._replace(points=np.tile(5.0 * np.arange(1, 48), (200, 1)), outcomes=np.tile([120.0, 240.0], (200, 1)))
    found = pace_baseline(PAST, even)
    for column, (index, _) in enumerate(CASES):
        assert found.point[:, column] == pytest.approx((120.0, 240.0)[index])


def test_the_seasons_mean_is_of_earlier_days_and_starts_with_the_season_before() -> None:
    found = season_mean_baseline(PAST, GAMES)
    points = GAMES.points[:, [minute - 1 for _, minute in CASES]]
    former = to_come(PAST)[PAST.season == 2021].mean(axis=0)
    first, last = GAMES.date == GAMES.date[0], GAMES.date == GAMES.date[-1]
    assert found.point[first] == pytest.approx(points[first] + former, rel=1e-5)
    came = to_come(GAMES)[~last]
    mean = (came.sum(axis=0) + FORMER_GAMES * former) / (len(came) + FORMER_GAMES)
    assert found.point[last] == pytest.approx(points[last] + mean, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 199), st.integers(-30, 80))
def test_no_rival_knows_how_a_game_or_a_later_one_ended(game: int, more: int) -> None:
    changed = GAMES._replace(outcomes=GAMES.outcomes.copy())
    changed.outcomes[game:] += more
    for rival in (pace_baseline, season_mean_baseline):
        one, other = rival(PAST, GAMES), rival(PAST, changed)
        until = GAMES.date <= GAMES.date[game]
        assert np.array_equal(one.point[until], other.point[until])


def test_scores_are_those_of_the_residuals_of_earlier_seasons() -> None:
    found = pace_baseline(PAST, GAMES)
    column = CASES.index((1, 24))
    residuals = to_come(PAST)[:, column] - PAST.points[:, 23]
    error = to_come(GAMES)[7, column] - GAMES.points[7, 23]
    spread = np.abs(residuals[:, None] - residuals[None, :]).mean() / 2
    assert found.crps[7, column] == pytest.approx(np.abs(residuals - error).mean() - spread, rel=1e-5)
