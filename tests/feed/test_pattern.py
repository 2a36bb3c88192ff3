"""Slots computed from scores: the same function builds patterns for training and live games."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_feed.pattern import Score, live_inputs, slots

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
    for minute, live in enumerate(live_inputs(scores, minutes), start=1):
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


def test_points_that_are_taken_back_were_not_the_last_score() -> None:
    scores = [(30.0, 2, 0), (50.0, 2, 3), (70.0, 2, 0), (100.0, 2, 0)]
    assert live_inputs(scores, 2) == (
        LiveInputs(5, LastScore(Side.AWAY, 10)),
        LiveInputs(2, LastScore(Side.HOME, 90)),
    )
