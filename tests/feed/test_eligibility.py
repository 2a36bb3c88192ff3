from __future__ import annotations

import pytest

from dejavu_feed.eligibility import exclusion_reason
from dejavu_feed.pattern import Score, period_of

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
    ("elapsed", "period"),
    [(0, 1), (720, 1), (720.1, 2), (1440, 2), (2880, 4), (2880.01, 5), (3180, 5), (3181, 6), (3480, 6)],
)
def test_the_end_of_a_period_is_its_own(elapsed: float, period: int) -> None:
    assert period_of(elapsed) == period
