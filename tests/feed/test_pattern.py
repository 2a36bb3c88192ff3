"""Slots and periods of scores, for training and live games alike, and which games count for training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.files.checked_games import exclusion_reason
from dejavu_feed.live_inputs import Side
from dejavu_feed.pattern import Score, inputs_from_scores, period_of, slots

SCORES = st.lists(
    st.builds(
        Score,
        st.integers(0, 48 * 60).map(float) | st.floats(0.0, 48 * 60.0, allow_nan=False),
        st.integers(0, 150),
        st.integers(0, 150),
    ),
    max_size=60,
)


@given(scores=SCORES, minutes=st.integers(1, 48))
def test_a_slot_is_the_last_row_not_after_the_end_of_its_minute(scores: list[Score], minutes: int) -> None:
    expected = []
    for minute in range(1, minutes + 1):
        before = [score for score in scores if score.elapsed <= 60 * minute]
        expected.append(before[-1].home - before[-1].away if before else 0)
    assert slots(scores, minutes) == tuple(expected)


@given(scores=SCORES, minutes=st.integers(1, 48), chronological=st.booleans())
def test_totals_and_the_last_score_are_those_of_the_points_that_stand(
    scores: list[Score], minutes: int, chronological: bool
) -> None:
    if chronological:
        scores = sorted(scores, key=lambda score: score.elapsed)
    for minute, live in enumerate(inputs_from_scores(scores, minutes), start=1):
        total, last = live.total_points, live.last_score
        before = [score for score in scores if score.elapsed <= 60 * minute]
        assert total == (sum(before[-1][1:]) if before else 0)
        assert (last is None) == (total == 0)
        if last is None:
            continue
        # The row since which a side has had its last point, for both sides.
        since = []
        for side in (1, 2):
            points = before[-1][side]
            lower = [index for index, score in enumerate(before) if score[side] < points]
            since.append(-1 if not points else lower[-1] + 1 if lower else 0)
        assert last.side == (Side.HOME if since[0] >= since[1] else Side.AWAY)
        assert last.seconds <= 60 * minute - before[max(since)].elapsed < last.seconds + 1


WON = (Score(0.0, 0, 0), Score(720.1, 2, 0), Score(2160.0, 2, 3), Score(2880.0, 5, 3))


def test_a_game_with_a_row_in_each_quarter_and_a_winner_counts() -> None:
    """A row at tip-off counts for the first quarter, a row at the end of a quarter for that quarter."""
    assert exclusion_reason("BOS", WON) == ""


@pytest.mark.parametrize("quarter", [1, 2, 3, 4])
def test_a_quarter_without_a_row_leaves_a_game_out(quarter: int) -> None:
    scores = [score for score in WON if period_of(score.elapsed) != quarter]
    assert exclusion_reason("BOS", scores) == f"quarter {quarter} has no row"


def test_an_overtime_stands_for_no_quarter() -> None:
    assert exclusion_reason("BOS", (*WON[:3], Score(2880.1, 5, 3))) == "quarter 4 has no row"


def test_a_tie_or_no_away_team_leaves_a_game_out() -> None:
    assert exclusion_reason("BOS", (*WON, Score(2880.0, 5, 5))) == "it ends tied"
    assert exclusion_reason(None, WON) == "away is missing"


@pytest.mark.parametrize(
    ("elapsed", "reason"),
    [
        (2640.0, ""),
        (2639.0, "its scores end 241 s before the end of period 4"),
        (2900.0, "its scores end 280 s before the end of period 5"),
    ],
)
def test_a_game_whose_rows_end_too_early_is_cut_off(elapsed: float, reason: str) -> None:
    scores = tuple(score for score in WON if score.elapsed < elapsed)
    assert exclusion_reason("BOS", (*scores, Score(elapsed, 9, 3))) == reason


def test_a_change_of_the_lead_that_no_minute_has_room_for_leaves_a_game_out() -> None:
    for points, reason in ((18, ""), (19, "its differential changes by 19 points in minute 2")):
        assert exclusion_reason("BOS", (WON[0], Score(120.0, 0, points), Score(180.0, 0, 5), *WON[1:])) == reason
    assert exclusion_reason("BOS", (*WON[:3], Score(2880.0, 40, 3))) == "", "a ledger's game, not followed to its end"


@pytest.mark.parametrize(
    ("elapsed", "period"),
    [(0, 1), (720, 1), (720.1, 2), (1440, 2), (2880, 4), (2880.01, 5), (3180, 5), (3181, 6), (3480, 6)],
)
def test_the_end_of_a_period_is_its_own(elapsed: float, period: int) -> None:
    assert period_of(elapsed) == period
