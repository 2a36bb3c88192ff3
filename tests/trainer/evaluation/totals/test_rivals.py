"""The rivals of totals: pace × time, and the season's mean of the points still to come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.random_walks import paced_games

from dejavu_models.types import CASES
from dejavu_trainer.evaluation.scoring.totals import FORMER_GAMES, pace_baseline, season_mean_baseline, to_come
from dejavu_trainer.training.totals import TotalGames, total_games


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
