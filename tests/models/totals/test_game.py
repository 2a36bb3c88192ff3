"""The total of one game alone: the same distribution as in a batch, for every query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import steady_totals

from dejavu_models.totals.model import MOST_TO_COME, TotalInputs
from dejavu_models.totals.totals import total_tables
from dejavu_models.types import CASES, DISTRIBUTION_LEVELS, HORIZONS, MarginSource
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution

TOTALS = steady_totals()
WHEN, SOURCES = st.sampled_from(CASES), st.sampled_from(MarginSource)
POINTS, LEADS, EXPECTED = st.integers(0, 500), st.floats(-60, 60), st.floats(150, 280)


def both(
    source: MarginSource, when: tuple[int, int], points: int, lead: float, expected: float
) -> tuple[Any, WholeNumberDistribution, float]:
    """Return a game's total alone, from the batch, and the batch's point forecast."""
    expected = 0.0 if source is MarginSource.UNKNOWN else expected
    horizon, minute = HORIZONS[when[0]], when[1]
    inputs = TotalInputs(*(np.array([value]) for value in (float(points), lead, expected)))
    model = TOTALS.models[source]
    point = points + float(model.to_come(horizon, minute, inputs)[0])
    alone = total_tables(model, horizon, minute).game(points, lead, expected)
    return alone, model.distribution(horizon, minute, inputs), point


@given(SOURCES, WHEN, POINTS, LEADS, EXPECTED)
def test_a_game_alone_has_the_distribution_that_it_has_in_a_batch(
    source: MarginSource, when: tuple[int, int], points: int, lead: float, expected: float
) -> None:
    alone, batch, point = both(source, when, points, lead, expected)
    totals = range(points - 2, points + MOST_TO_COME + 3)
    found = np.array([alone.cumulative(total) for total in totals])
    assert found[2 : 3 + MOST_TO_COME] == pytest.approx(batch.below[0], abs=1e-9)
    assert found[:2].tolist() == [0, 0]
    assert found[-2:].tolist() == [1, 1]
    assert (np.diff(found) >= 0).all()
    assert alone.point == pytest.approx(point, abs=1e-9)


@given(SOURCES, WHEN, POINTS, LEADS, EXPECTED, st.lists(st.floats(1e-5, 1 - 1e-5), min_size=1, max_size=12))
def test_its_quantiles_are_those_of_the_batch_one_by_one_and_together(
    source: MarginSource, when: tuple[int, int], points: int, lead: float, expected: float, levels: list[float]
) -> None:
    alone, batch, _ = both(source, when, points, lead, expected)
    for asked in (levels, DISTRIBUTION_LEVELS):
        due = batch.quantiles(asked)[0].tolist()
        assert alone.quantiles(asked) == due
        assert [alone.quantiles([level])[0] for level in asked] == due
