from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.builders.shipped import shipped_bundle

from dejavu_models.arrays import Floats
from dejavu_models.components.linear import (
    CORRECTION_TERMS,
    CUBE,
    INTERCEPT,
    MARGIN_SLOPE,
    SLOPE,
    LinearModels,
)
from dejavu_models.types import HORIZONS, Horizon

UNKNOWN, KNOWN, LINE = range(3)


def coefficients() -> Floats:
    """Return coefficients: half of a known margin, or a whole line, is to come at tip-off, and nothing at the end."""
    values = np.zeros((2, 48, 3, 4))
    values[..., INTERCEPT] = 1.0
    values[..., SLOPE] = -0.1
    values[1, :, KNOWN, MARGIN_SLOPE] = np.linspace(0.5, 0.0, 48)
    values[1, :, LINE, MARGIN_SLOPE] = np.linspace(1.0, 0.0, 48)
    values[0, 24:] = np.nan
    return values


def at(place: Any, value: float) -> dict[str, Any]:
    """Return coefficients with a value at a place."""
    values = coefficients()
    values[place] = value
    return {"coefficients": values}


PLAIN, CUBED = {"coefficients": coefficients()}, at((1, slice(None), slice(None), CUBE), -0.5)


@pytest.mark.parametrize(
    ("of", "minute", "lead", "margin", "line", "expected"),
    [
        (PLAIN, 0, 10.0, 6.0, False, [0.0, 3.0]),
        (PLAIN, 0, 10.0, math.nan, False, [0.0, 0.0]),
        (PLAIN, 0, 10.0, 6.0, True, [0.0, 6.0]),  # the line of a market has models of its own
        (PLAIN, 24, 5.0, math.nan, False, [math.nan, 0.5]),  # the half has passed
        (CUBED, 20, 20.0, math.nan, False, [-1.0, -5.0]),  # a large lead counts by its cube, at the end alone
        (CUBED, 20, 1.0, math.nan, False, [0.9, 0.8995]),
    ],
)
def test_an_increment_counts_the_lead_its_cube_and_the_margin_where_it_is_known(
    of: dict[str, Floats], minute: int, lead: float, margin: float, line: bool, expected: list[float]
) -> None:
    [found] = LinearModels(**of).increments(minute, np.array([lead]), np.array([margin]), line=line)
    assert found.tolist() == pytest.approx(expected, nan_ok=True)


def corrected(terms: list[float], spread: float) -> LinearModels:
    """Return models with the same correction for each source of a margin and each minute after tip-off."""
    corrections, spreads = np.tile(terms, (3, 1)), np.full((3, 48), spread)
    corrections[UNKNOWN, [1, 3, 4, 5]], spreads[:, 0] = 0.0, 0.0
    return LinearModels(coefficients(), corrections, spreads)


@pytest.mark.parametrize(
    ("term", "lead", "margin", "expected"),
    [
        (0, 20.0, 8.0, 20.0),
        (1, 20.0, 8.0, 4.0),  # after 24 minutes, half of the margin is still to come
        (2, 20.0, 8.0, 80.0),  # 10 points times (20 / 10)³
        (3, 20.0, 8.0, 16.0),
        (5, 20.0, 8.0, 0.64),
        (2, 60.0, 8.0, 640.0),  # leads count up to four spreads, margins up to three
        (5, 20.0, -150.0, -270.0),
        (2, 20.0, math.nan, 80.0),
        (5, 20.0, math.nan, 0.0),
    ],
)
def test_the_correction_is_a_cubic_polynomial_in_spreads_of_the_end_alone(
    term: int, lead: float, margin: float, expected: float
) -> None:
    models = corrected([float(each == term) for each in range(CORRECTION_TERMS)], 10.0)
    leads, margins = np.array([lead, -lead]), np.array([margin, -margin])
    change = models.increments(24, leads, margins) - LinearModels(coefficients()).increments(24, leads, margins)
    assert change[:, 1] == pytest.approx([expected, -expected])
    for minute, horizon in ((18, Horizon.HALFTIME), (0, Horizon.FINAL)):
        place = HORIZONS.index(horizon)
        made, plain = (each.increments(minute, leads, margins) for each in (models, LinearModels(coefficients())))
        assert made[:, place].tolist() == plain[:, place].tolist()


@pytest.mark.parametrize("cube", [0.0, -0.3])
def test_many_minutes_at_once_get_what_each_gets_alone(cube: float) -> None:
    models, rng = corrected([cube] * CORRECTION_TERMS, 8.0), np.random.default_rng(0)
    models = replace(models, **at((1, slice(None), slice(None), CUBE), cube))
    leads, margins = rng.normal(0, 8, (5, 47)), np.array([3.0, np.nan, -4.0, 0.0, np.nan])
    together = models.increments(slice(1, 48), leads, margins)
    for minute in range(1, 48):
        alone = models.increments(minute, leads[:, minute - 1], margins)
        assert np.array_equal(together[:, minute - 1], alone, equal_nan=True)


BEYOND = "increment to final beyond ±10000"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"coefficients": coefficients()[:, :47]}, "shape"),
    *((at((0, 23), bad), "increment to halftime beyond ±10000") for bad in (np.nan, np.inf, -1e308)),
    (at((1, 5, UNKNOWN, MARGIN_SLOPE), 0.1), "without an expected margin"),
    (at((0, 5, slice(None), CUBE), 0.1), "cubes for halftime"),
    (at((1, 40, KNOWN, MARGIN_SLOPE), 60.0), BEYOND),  # two even teams hide it, until one of them has won
    (at((1, 40, UNKNOWN, CUBE), 50.0), BEYOND),
    ({"corrections": np.zeros((3, 5))}, "linear corrections is float64 of shape"),
    ({"spreads": np.full((3, 48), -1.0)}, "linear spreads must be within 0 to 10000"),
    ({"corrections": np.full((3, 6), 6.0)}, "linear corrections give an increment beyond ±10000"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_models_of_another_form_or_with_increments_that_a_scorecard_cannot_show_are_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        replace(corrected([0.1] * CORRECTION_TERMS, 10.0), **changes)


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("margin", [math.nan, 0.0, 12.0])
def test_a_larger_lead_is_never_forecast_to_be_worth_less(margin: float, line: bool) -> None:
    """Also beyond the leads of all games: after two minutes, the cube of a lead of 30 once made it −32."""
    linear, leads = shipped_bundle().models.linear, np.arange(-200.0, 201.0)
    for minute in range(1, 48):
        increments = linear.increments(minute, leads, np.full_like(leads, margin), line=line)
        assert np.diff(leads + increments[:, HORIZONS.index(Horizon.FINAL)]).min() > -0.25, minute
