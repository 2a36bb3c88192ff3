"""Distributions at moments: compiled and by the reference, consistent with arithmetic, read as they were written."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.arrays import Floats
from dejavu_models.manifest import MOMENTS
from dejavu_models.moments.model import CHANGES, MOST_LEAD, NOT_KNOWN, SECONDS, MomentModel
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.distribution import LARGEST, VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.game import LatticeGame
from dejavu_store.default_bundles import default_bundle

FINAL = Horizon.FINAL


MODEL = MomentModel.from_bytes((default_bundle() / MOMENTS).read_bytes())
WHEN = st.sampled_from(HORIZONS)
SECOND, LEAD = st.floats(0, 300), st.integers(-40, 40)
SIDES = (-1, 0, 1)
BALL = st.sampled_from(
    [(side, 0, 0) for side in SIDES]
    + [(side, 1, 0) for side in (-1, 1)]
    + [(side, 0, coming) for side in (-1, 1) for coming in (1, 2, 3)]
)
"""The side with the ball, whether its shot is in the air, and its free throws to come."""
MARGIN = st.floats(-40, 40)


def at_end(horizon: Horizon, second: float, lead: float, ball: tuple[int, int, int], margin: float) -> Floats:
    """Return the probabilities of the differentials at the end of a period, (161,), by arithmetic on the tables."""
    side, in_air, coming = ball
    if coming:
        after_made, after_missed = ((-side, 0, 0), (side, 1, 0)) if coming == 1 else ((side, 0, coming - 1),) * 2
        made, missed = (
            at_end(horizon, second, points, after, margin)
            for points, after in ((lead + side, after_made), (lead, after_missed))
        )
        return MODEL.free_throw * made + (1 - MODEL.free_throw) * missed
    seconds = SECONDS[horizon]
    row = max(place for place in range(len(seconds) - 1) if seconds[place] <= second)
    share = (second - seconds[row]) / (seconds[row + 1] - seconds[row])
    tables = MODEL.mass[horizon][NOT_KNOWN if not side else in_air]
    expected, result = lead + MODEL.drift * second * margin, np.zeros(2 * LARGEST + 1)
    for start, weight in ((floor(expected), 1 - expected % 1), (floor(expected) + 1, expected % 1)):
        place = min(max((side or 1) * start, -MOST_LEAD), MOST_LEAD) + MOST_LEAD
        changes = (1 - share) * tables[row, place] + share * tables[row + 1, place]
        for change, probability in zip(CHANGES.tolist(), changes.tolist(), strict=True):
            result[min(max(start + (side or 1) * change, -LARGEST), LARGEST) + LARGEST] += weight * probability
    result /= result.sum()
    return result


def due(horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float) -> Floats:
    """Return the probabilities of the differentials at a horizon, (161,)."""
    mass = at_end(horizon, second, lead, ball, margin)
    if horizon is FINAL:  # a tie goes to overtimes until there is none
        overtime = at_end(FINAL, 300.0, 0.0, (0, 0, 0), margin)
        overtime[LARGEST] = 0.0
        mass, ties = np.where(VALUES == 0, 0.0, mass), mass[LARGEST]
        mass += ties * overtime / overtime.sum()
    return mass


def game(horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float) -> LatticeGame:
    side, in_air, coming = ball
    return MODEL.game(horizon, second, lead, side, margin, in_air=bool(in_air), free_throws=coming)


@given(WHEN, SECOND, LEAD, BALL, MARGIN)
def test_the_distribution_is_that_of_the_tables(
    horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float
) -> None:
    second = min(second, SECONDS[horizon][-1])
    made, expected = game(horizon, second, lead, ball, margin), due(horizon, second, lead, ball, margin)
    assert [made.cumulative(value) for value in VALUES.tolist()] == pytest.approx(np.cumsum(expected), abs=1e-9)
    assert made.home_lead_probability == pytest.approx(expected[LARGEST + 1 :].sum(), abs=1e-8)
    assert made.point == pytest.approx(expected @ VALUES, abs=1e-8)
    levels = [0.025, 0.5, 0.975]
    assert made.quantiles(levels) == LatticeDistribution(expected[None]).quantiles(levels)[0].tolist()
    assert made.calibration_games == MODEL.games


@given(WHEN, SECOND, BALL, MARGIN)
def test_the_probability_to_win_never_falls_with_the_lead(
    horizon: Horizon, second: float, ball: tuple[int, int, int], margin: float
) -> None:
    wins = [game(horizon, second, lead, ball, margin).home_lead_probability for lead in range(-40, 41)]
    assert np.diff(wins).min() > -1e-6
