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


def corrected(terms: list[float], spread: float) -> LinearModels:
    """Return models with the same correction for each source of a margin and each minute after tip-off."""
    corrections, spreads = np.tile(terms, (3, 1)), np.full((3, 48), spread)
    corrections[UNKNOWN, [1, 3, 4, 5]], spreads[:, 0] = 0.0, 0.0
    return LinearModels(coefficients(), corrections, spreads)


@pytest.mark.parametrize("cube", [0.0, -0.3])
def test_many_minutes_at_once_get_what_each_gets_alone(cube: float) -> None:
    models, rng = corrected([cube] * CORRECTION_TERMS, 8.0), np.random.default_rng(0)
    models = replace(models, **at((1, slice(None), slice(None), CUBE), cube))
    leads, margins = rng.normal(0, 8, (5, 47)), np.array([3.0, np.nan, -4.0, 0.0, np.nan])
    together = models.increments(slice(1, 48), leads, margins)
    for minute in range(1, 48):
        alone = models.increments(minute, leads[:, minute - 1], margins)
        assert np.array_equal(together[:, minute - 1], alone, equal_nan=True)


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("margin", [math.nan, 0.0, 12.0])
def test_a_larger_lead_is_never_forecast_to_be_worth_less(margin: float, line: bool) -> None:
    """Also beyond the leads of all games: after two minutes, the cube of a lead of 30 once made it −32."""
    linear, leads = shipped_bundle().models.linear, np.arange(-200.0, 201.0)
    for minute in range(1, 48):
        increments = linear.increments(minute, leads, np.full_like(leads, margin), line=line)
        assert np.diff(leads + increments[:, HORIZONS.index(Horizon.FINAL)]).min() > -0.25, minute
