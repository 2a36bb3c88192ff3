from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dejavu_models.arrays import Floats
from dejavu_models.components.features import anchored, minute_steps, pattern_vectors

PATTERNS = st.integers(1, 47).flatmap(
    lambda slots: hnp.arrays(
        float, st.tuples(st.integers(1, 4), st.just(slots)), elements=st.integers(-60, 60).map(float)
    )
)


def test_a_pattern_is_seen_from_its_last_slot_with_the_tip_off_before_it() -> None:
    assert anchored(np.array([[2.0, 5.0, 4.0]])).tolist() == [[-4.0, -2.0, 1.0]]


def test_steps_tell_the_score_its_change_the_clock_and_what_was_expected() -> None:
    known, unknown = minute_steps(np.array([[2.0, 5.0, 4.0], [2.0, 5.0, 4.0]]), np.array([6.5, np.nan]))
    assert known[:, :2].tolist() == unknown[:, :2].tolist() == [[2.0, 2.0], [5.0, 3.0], [4.0, -1.0]]
    assert known[:, 2] == pytest.approx([1 / 48, 2 / 48, 3 / 48])
    assert known[:, 3:].tolist() == [[6.5, 1.0]] * 3
    assert unknown[:, 3:].tolist() == [[0.0, 0.0]] * 3


@given(PATTERNS, st.integers(-100, 100))
def test_a_lead_gained_in_the_first_minute_moves_only_the_tip_off(patterns: Floats, points: int) -> None:
    assert np.array_equal(anchored(patterns + points)[:, 1:], anchored(patterns)[:, 1:])
    assert np.array_equal(anchored(patterns + points)[:, 0], anchored(patterns)[:, 0] - points)


@given(PATTERNS, st.floats(1, 50))
def test_distances_are_points_whatever_the_recency(patterns: Floats, recency: float) -> None:
    """Patterns whose anchored minutes all differ by 3 points are 3 points apart."""
    far = 3 * np.ones((1, patterns.shape[1]))
    far[:, -1] = 0
    shifted = patterns - far  # shifts all anchored minutes except the tip-off
    moved = pattern_vectors(shifted, recency) - pattern_vectors(patterns, recency)
    tip_off = np.exp(-patterns.shape[1] / recency)
    others = np.exp(-np.arange(1, patterns.shape[1]) / recency)
    share = np.square(others).sum() / (np.square(others).sum() + tip_off**2)
    assert np.linalg.norm(moved, axis=1) == pytest.approx(3 * np.sqrt(share), abs=1e-4)


def test_recent_minutes_weigh_more() -> None:
    flat = np.zeros((1, 18))
    early, late = flat.copy(), flat.copy()
    early[0, 2], late[0, 16] = 5, 5
    at = pattern_vectors(flat, 6.0)
    assert np.linalg.norm(pattern_vectors(late, 6.0) - at) > 2 * np.linalg.norm(pattern_vectors(early, 6.0) - at)
