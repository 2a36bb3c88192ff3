"""Simulated games: valid for every seed."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.pattern import REGULATION_MINUTES, slots
from dejavu_feed.replay.simulate import simulate_game


@given(seed=st.integers(0, 2**32), home_edge=st.floats(-20, 20))
def test_a_game_is_one_that_could_be_played(seed: int, home_edge: float) -> None:
    scores = simulate_game(random.Random(seed), home_edge=home_edge)

    assert scores[0] == (0.0, 0, 0)
    assert scores[-1].home != scores[-1].away
    assert {int(score.elapsed // 720) for score in scores} >= {0, 1, 2, 3}
    for before, after in itertools.pairwise(scores):
        assert after.elapsed >= before.elapsed
        made = (after.home - before.home, after.away - before.away)
        assert min(made) == 0
        assert 1 <= max(made) <= 3
    if scores[-1].elapsed > 60 * REGULATION_MINUTES:
        assert slots(scores, REGULATION_MINUTES)[-1] == 0, "an overtime follows a tie"
