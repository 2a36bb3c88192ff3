from __future__ import annotations

import math
from collections.abc import Callable
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


def cubed() -> Floats:
    """Return coefficients with a cube of the lead at the end."""
    values = coefficients()
    values[1, :, :, CUBE] = -0.5
    return values


@pytest.mark.parametrize(
    ("of", "minute", "lead", "margin", "line", "expected"),
    [
        (coefficients, 0, 10.0, 6.0, False, [0.0, 3.0]),
        (coefficients, 0, 10.0, math.nan, False, [0.0, 0.0]),
        (coefficients, 0, 10.0, 6.0, True, [0.0, 6.0]),  # the line of a market has models of its own
        (coefficients, 0, 10.0, math.nan, True, [0.0, 0.0]),
        (coefficients, 24, 5.0, math.nan, False, [math.nan, 0.5]),  # the half has passed
        (cubed, 20, 20.0, math.nan, False, [-1.0, -5.0]),  # a large lead counts by its cube, at the end alone
        (cubed, 20, -20.0, math.nan, False, [3.0, 7.0]),
        (cubed, 20, 1.0, math.nan, False, [0.9, 0.8995]),
    ],
)
def test_an_increment_counts_the_lead_its_cube_and_the_margin_where_it_is_known(
    of: Callable[[], Floats], minute: int, lead: float, margin: float, line: bool, expected: list[float]
) -> None:
    [found] = LinearModels(of()).increments(minute, np.array([lead]), np.array([margin]), line=line)
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
        (4, 20.0, 8.0, 3.2),
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
    halftime = models.increments(18, leads, margins) - LinearModels(coefficients()).increments(18, leads, margins)
    assert halftime[:, 0].tolist() == [0.0, 0.0]


def test_before_tip_off_there_is_no_correction() -> None:
    models, margins = corrected([0.5] * CORRECTION_TERMS, 10.0), np.array([6.0, np.nan])
    leads = np.zeros(2)
    plain = LinearModels(coefficients()).increments(0, leads, margins)
    assert models.increments(0, leads, margins).tolist() == plain.tolist()


@pytest.mark.parametrize("cube", [0.0, -0.3])
def test_many_minutes_at_once_get_what_each_gets_alone(cube: float) -> None:
    models, rng = corrected([cube] * CORRECTION_TERMS, 8.0), np.random.default_rng(0)
    cubed = models.coefficients.copy()
    cubed[1, :, :, CUBE] = cube
    models = replace(models, coefficients=cubed)
    leads, margins = rng.normal(0, 8, (5, 47)), np.array([3.0, np.nan, -4.0, 0.0, np.nan])
    together = models.increments(slice(1, 48), leads, margins)
    for minute in range(1, 48):
        alone = models.increments(minute, leads[:, minute - 1], margins)
        assert np.array_equal(together[:, minute - 1], alone, equal_nan=True)


def test_coefficients_of_another_form_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        LinearModels(coefficients()[:, :47])
    for value in (np.nan, np.inf, -1e308):
        wrong = coefficients()
        wrong[0, 23] = value
        with pytest.raises(ValueError, match="increment to halftime beyond ±10000"):
            LinearModels(wrong)
    misplaced = coefficients()
    misplaced[1, 5, UNKNOWN, MARGIN_SLOPE] = 0.1
    with pytest.raises(ValueError, match="without an expected margin"):
        LinearModels(misplaced)
    cubed = coefficients()
    cubed[0, 5, :, CUBE] = 0.1
    with pytest.raises(ValueError, match="cubes for halftime"):
        LinearModels(cubed)


@pytest.mark.parametrize(
    ("source", "coefficient", "value"),
    [
        (KNOWN, MARGIN_SLOPE, 60.0),  # two even teams hide it, until one of them has won
        (UNKNOWN, SLOPE, -60.0),
        (LINE, INTERCEPT, 11_000.0),
        (UNKNOWN, CUBE, 50.0),
    ],
)
def test_no_game_has_an_increment_that_a_scorecard_cannot_show(source: int, coefficient: int, value: float) -> None:
    large = coefficients()
    large[1, 40, source, coefficient] = value
    with pytest.raises(ValueError, match="increment to final beyond ±10000"):
        LinearModels(large)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corrections": np.zeros((3, 5))}, "linear corrections are float64 of shape"),
        ({"spreads": np.zeros((3, 48), np.float32)}, "linear spreads are float32"),
        ({"spreads": np.full((3, 48), -1.0)}, "linear spreads must be 0 to 10000 points"),
        ({"spreads": np.full((3, 48), np.nan)}, "linear spreads must be"),
        ({"corrections": np.full((3, 6), 6.0)}, "linear corrections give an increment beyond ±10000"),
        ({"corrections": np.full((3, 6), np.nan)}, "linear corrections give"),
    ],
)
def test_a_correction_that_no_games_make_is_refused(changes: dict[str, Any], said: str) -> None:
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
