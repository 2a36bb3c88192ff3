"""Conformal ranks: coverage of every level in every cell, however wrong the tables are; and valid ranks of a bundle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES
from dejavu_models.uncertainty.lattice.ranks import TAILS, UNRANKED, calibrated, cells, check_ranks, knots, ranks_of

ROUNDING = 1e-6 * len(TAILS)
"""Sum of the differences that ranks keep between levels: 1e-6 from each to the next."""


def transforms(games: int, seed: int, power: float) -> Floats:
    """Return transforms by tables that are too narrow (a power below 1) or too wide, of games with similar minutes."""
    rng = np.random.default_rng(seed)
    sizes = rng.random((games, 1)) ** power * rng.random((games, len(CASES))) ** 0.1
    return 0.5 + rng.choice([-0.5, 0.5], (games, len(CASES))) * sizes


def test_every_case_is_in_one_cell_and_the_last_minutes_have_their_own() -> None:
    assert sorted(row for rows in cells() for row in rows) == list(range(len(CASES)))
    of_one_minute = [CASES[rows[0]] for rows in cells() if len(rows) == 1]
    assert of_one_minute == [(1, 46), (1, 47)]


@given(games=st.integers(2, 12), seed=st.integers(0, 10**6), power=st.floats(0.05, 8))
@example(games=2, seed=2, power=4.3125)  # all levels near the median end at one game
def test_a_new_game_is_covered_as_often_as_promised(games: int, seed: int, power: float) -> None:
    """Each game in turn is new to the ranks of the others; the bound holds on average over games and minutes."""
    of_all = transforms(games, seed, power)
    held = np.empty((games, len(CASES), len(TAILS)))
    for game in range(games):
        reach = 0.5 - ranks_of(np.delete(of_all, game, axis=0))
        held[game] = np.abs(of_all[game] - 0.5)[:, None] <= reach + ROUNDING
    # Levels without ranks, as there are too few games, are those of the tables, without a guarantee.
    promised = (1 - 2 * TAILS) * games <= games - 1 + 1e-9
    for rows in cells():
        share = held[:, rows].mean(axis=(0, 1))
        assert (share[promised] >= (1 - 2 * TAILS[promised]) - 1e-9).all()


def test_ranks_of_true_tables_change_nothing_and_those_of_narrow_ones_widen_them() -> None:
    rng = np.random.default_rng(1)
    true = rng.random((20_000, len(CASES)))
    assert ranks_of(true) == pytest.approx(UNRANKED, abs=0.012)
    narrow = 0.5 + np.sign(true - 0.5) * np.sqrt(np.abs(true - 0.5) / 2)
    assert (ranks_of(narrow)[:, 4:-1] < UNRANKED[:, 4:-1] - 0.002).all()


@given(games=st.integers(1, 5), seed=st.integers(0, 10**6), below=st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_a_calibrated_level_rises_with_that_of_the_tables_and_keeps_the_median(
    games: int, seed: int, below: list[float]
) -> None:
    ranks = ranks_of(transforms(games, seed, 1.0))
    check_ranks(ranks.astype(np.float32).astype(np.float64))
    levels = calibrated(ranks[0], np.array([0.0, *sorted(below), 1.0]))
    assert (np.diff(levels) >= 0).all()
    assert (levels[0], levels[-1]) == (0.0, 1.0)
    assert calibrated(ranks[0], np.array([0.5])) == pytest.approx([0.5])
    assert all((np.diff(each) > 0).all() for each in knots(ranks[0]))
