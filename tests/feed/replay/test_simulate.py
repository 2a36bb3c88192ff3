"""Simulated games: valid for every seed, and with a spread similar to real ones."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, slots
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


def test_games_spread_like_real_ones() -> None:
    rng = random.Random(2023)
    games = [simulate_game(rng, home_edge=6.0) for _ in range(300)]
    patterns = [slots(game, HALFTIME_MINUTES) for game in games]

    assert statistics.mean(game[-1].home - game[-1].away for game in games) == pytest.approx(6.0, abs=2.0)
    assert statistics.mean(game[-1].home + game[-1].away for game in games) == pytest.approx(216, abs=5)
    assert statistics.stdev(game[-1].home - game[-1].away for game in games) == pytest.approx(13.7, abs=1.5)
    assert statistics.stdev(pattern[23] - pattern[17] for pattern in patterns) == pytest.approx(5.9, abs=0.7)
