"""States of a game after each play before the half, before the end and in overtime."""

from __future__ import annotations

import numpy as np
import pytest

from dejavu_feed.pattern import Score
from dejavu_trainer.data.moments import COLUMNS, moments_from_array, moments_of, moments_to_array, no_moments, states_at

SCORES = [Score(100, 2, 0), Score(1300, 40, 41), Score(1440, 43, 41), Score(2600, 90, 90), Score(2700.5, 92, 90)]
BALLS = [
    (1290.0, "BOS", True),
    (1435.0, "LAL", False),
    (2690.0, "LAL", False),
    (2879.0, "", False),
    (2890.0, "BOS", False),
]


def test_a_state_has_the_last_score_and_ball_of_its_period() -> None:
    scores = [*SCORES, Score(2880, 92, 92), Score(2900, 92, 94)]
    found = moments_of(scores, BALLS, "BOS")
    assert found.tolist() == [
        [1260, 2, 2, 0, 0],  # the window begins
        [1290, 2, 2, 1, 1],
        [1300, -1, 81, 1, 1],
        [1435, -1, 81, -1, 0],  # not the end of the half
        [2520, 2, 84, 0, 0],  # the ball of the half says nothing
        [2600, 0, 180, 0, 0],
        [2690, 0, 180, -1, 0],
        [2700.5, 2, 182, -1, 0],
        [2879, 2, 182, 0, 0],
        [2890, 0, 184, 1, 0],  # overtime
        [2900, -2, 186, 1, 0],
    ]
    at = states_at(found, np.array([1000.0, 1299.0, 2700.5]))
    assert np.isnan(at[0]).all()
    assert at[1:, 1].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("scores", "balls", "rows", "known"),
    [
        (SCORES, [], 5, 0),
        (SCORES[::-1], BALLS, 0, 0),  # a clock that runs backwards
        (SCORES, BALLS[::-1], 5, 0),
    ],
)
def test_without_events_or_order_less_is_known(
    scores: list[Score], balls: list[tuple[float, str, bool]], rows: int, known: int
) -> None:
    found = moments_of(scores, balls, "BOS")
    assert len(found) >= rows if rows else not len(found)
    assert (found[:, COLUMNS.index("side")] != 0).sum() == known


def test_with_plays_in_whole_seconds_the_ball_is_of_the_same_second_as_the_score() -> None:
    """Otherwise the other team would have the ball before the basket counts."""
    scores = [Score(100, 2, 0), Score(2849, 4, 0), Score(2900, 6, 0)]
    found = moments_of(scores, [(2840.2, "BOS", False), (2848.3, "LAL", False)], "BOS")
    assert found.tolist()[1:] == [[2520, 2, 2, 0, 0], [2841, 2, 2, 1, 0], [2849, 4, 4, -1, 0], [2900, 6, 6, 0, 0]]


def test_states_of_games_are_stored_as_rows_and_read_back() -> None:
    games = no_moments(4)
    games[1] = moments_of(SCORES, BALLS, "BOS")
    games[3] = games[1][:2]
    rows = moments_to_array(games)
    again = moments_from_array(rows, 4)
    assert [len(each) for each in again] == [0, len(games[1]), 0, 2]
    assert all(np.array_equal(one, other) for one, other in zip(games, again, strict=True))
    assert len(moments_from_array(moments_to_array(no_moments(2)), 2)) == 2
    for wrong in (rows[::-1], rows + np.array([9, 0, 0, 0, 0, 0])):
        with pytest.raises(ValueError, match="not those of 4 games"):
            moments_from_array(wrong.astype(np.float32), 4)
