"""Scores of totals: of the served forecasts, from earlier games alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.random_walks import paced_games, with_total_lines
from tests.support.harness.present import present

from dejavu_feed.live_inputs import COLUMNS
from dejavu_models.totals.totals import Totals
from dejavu_models.types import CASES, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.fold_scores import LINE, SERVED
from dejavu_trainer.evaluation.scoring.totals import (
    FORMER_GAMES,
    LINE_RATE,
    RIVALS,
    pace_baseline,
    score_totals,
    season_mean_baseline,
    to_come,
)
from dejavu_trainer.evaluation.table import TOTALS, Table
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


@pytest.mark.nightly
def test_games_without_points_are_left_out(games: Games, earlier: Games, fitted: Totals) -> None:
    test = games.of_seasons([2024])
    missing = replace(test, final_total=np.where(np.arange(250) < 150, -1, test.final_total).astype(np.int16))
    assert np.unique(scored(fitted, earlier, missing).of(FINAL, "game")).tolist() == list(range(150, 250))
    assert score_totals(fitted, earlier, replace(test, final_total=np.full(250, -1, np.int16))) == {}


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
