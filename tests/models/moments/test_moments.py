"""Distributions at moments: compiled and by the reference, consistent with arithmetic, read as they were written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.manifest import MOMENTS
from dejavu_models.moments.model import CHANGES, MOST_LEAD, NOT_KNOWN, MomentInputs, MomentModel
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.distribution import LARGEST
from dejavu_store.registry import default_bundle

FINAL = Horizon.FINAL


MODEL = MomentModel.from_bytes((default_bundle() / MOMENTS).read_bytes())
WHEN = st.sampled_from(HORIZONS)
SECOND, LEAD = st.floats(0, 300), st.integers(-40, 40)
NOBODY = (0, 0, 0)
SIDES = (-1, 0, 1)
BALL = st.sampled_from(
    [(side, 0, 0) for side in SIDES]
    + [(side, 1, 0) for side in (-1, 1)]
    + [(side, 0, coming) for side in (-1, 1) for coming in (1, 2, 3)]
)
"""The side with the ball, whether its shot is in the air, and its free throws to come."""
MARGIN = st.floats(-40, 40)


def inputs(second: float, leads: list[int], ball: tuple[int, int, int], margin: float) -> MomentInputs:
    each = np.ones(len(leads))
    side, in_air, coming = (value * each for value in ball)
    return MomentInputs(second * each, np.array(leads, dtype=float), side, in_air, coming, margin * each)


@given(WHEN, SECOND, LEAD, BALL, MARGIN)
def test_the_compiled_distribution_is_that_of_the_reference(
    horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float
) -> None:
    due = MODEL.distribution(horizon, inputs(second, [lead], ball, margin))
    side, in_air, coming = ball
    game = MODEL.game(horizon, second, lead, side, margin, in_air=bool(in_air), free_throws=coming)
    values = range(-LARGEST, LARGEST + 1)
    assert [game.cumulative(value) for value in values] == pytest.approx(due.below[0].tolist(), abs=1e-9)
    assert due.mass.sum() == pytest.approx(1)
    assert horizon is Horizon.HALFTIME or due.mass[0, LARGEST] == 0, "a game never ends with a tie"
    assert game.home_lead_probability == pytest.approx(float(due.home_leads[0]), abs=1e-8)
    assert game.point == pytest.approx(float(due.mass[0] @ np.arange(-LARGEST, LARGEST + 1)), abs=1e-8)
    assert game.quantiles([0.025, 0.5, 0.975]) == due.quantiles([0.025, 0.5, 0.975])[0].tolist()
    assert game.calibration_games == MODEL.games


@given(WHEN, SECOND, BALL, MARGIN)
def test_the_probability_to_win_never_falls_with_the_lead(
    horizon: Horizon, second: float, ball: tuple[int, int, int], margin: float
) -> None:
    made = MODEL.distribution(horizon, inputs(second, list(range(-40, 41)), ball, margin))
    assert np.diff(made.home_leads).min() > -1e-6


@given(WHEN, st.integers(-30, 30), st.sampled_from(SIDES), MARGIN)
def test_with_no_time_left_the_lead_stands_and_a_tie_goes_to_overtime(
    horizon: Horizon, lead: int, side: int, margin: float
) -> None:
    made = MODEL.distribution(horizon, inputs(0.0, [lead], (side, 0, 0), margin))
    if lead or horizon is Horizon.HALFTIME:
        assert made.mass[0, LARGEST + lead] == pytest.approx(1)
    else:
        overtime = MODEL.distribution(FINAL, inputs(300.0, [0], NOBODY, margin))
        assert made.mass[0] == pytest.approx(overtime.mass[0])


@pytest.mark.parametrize("margin", [10.0, -10.0])
def test_the_stronger_team_is_favoured_the_more_the_more_time_is_left(margin: float) -> None:
    early, late = (MODEL.distribution(FINAL, inputs(left, [0], NOBODY, margin)).home_leads[0] for left in (240, 5))
    assert (early - late) * margin > 0


def test_tables_are_read_as_they_were_written() -> None:
    again = MomentModel.from_bytes(MODEL.to_bytes())
    assert again.to_bytes() == MODEL.to_bytes()
    assert again.games == MODEL.games


def changed(place: tuple[Any, ...], values: Any) -> np.ndarray:
    """Return the changes of the lead until the end with other probabilities in one row."""
    mass = MODEL.mass[FINAL].copy()
    mass[place] = values
    return mass


@pytest.mark.parametrize(
    ("name", "values", "refused"),
    [
        ("final", lambda: MODEL.mass[FINAL][:, :-1], "shape"),
        ("final", lambda: 2 * MODEL.mass[FINAL], "do not sum to 1"),
        ("final", lambda: np.full_like(MODEL.mass[FINAL], np.nan), "do not sum to 1"),
        ("final", lambda: changed((0, 3, 3, slice(2)), (-0.5, 1.5)), "negative"),
        ("final", lambda: changed((NOT_KNOWN, -1, MOST_LEAD), CHANGES == 0), "tied"),
        # Of an overtime of a favorite, whose margin counts as points of lead: as few as there are rows, and more.
        ("final", lambda: changed((NOT_KNOWN, -1, MOST_LEAD + 3), CHANGES == -3), "tied"),
        ("final", lambda: changed((NOT_KNOWN, -1, -1), CHANGES == -MOST_LEAD - 1), "tied"),
        ("drift", lambda: 0.02, "drift"),
        ("drift", lambda: np.nan, "drift"),
        ("free_throw", lambda: 1.1, "free throw"),
        ("free_throw", lambda: np.nan, "free throw"),
        ("games", lambda: 0, "games"),
        ("games", lambda: 2**40, "games"),
    ],
)
def test_wrong_tables_are_refused(name: str, values: Callable[[], Any], refused: str) -> None:
    content = to_npz(**{**from_npz((default_bundle() / MOMENTS).read_bytes()), name: np.array(values())})
    with pytest.raises(ValueError, match=refused):
        MomentModel.from_bytes(content)
