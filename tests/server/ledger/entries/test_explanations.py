"""Explanations in the canonical form."""

from __future__ import annotations

import json
import random
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import MAX_SLOTS, Horizon
from dejavu_server.ledger.entries.explanations import EXPLANATION, read_explanation

FORECASTER = load_bundle(default_bundle())


@given(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), st.none() | st.floats(-30, 30), st.booleans())
def test_what_is_written_is_read_back(minutes: int, seed: int, margin: float | None, steps: bool) -> None:
    rng = random.Random(seed)
    pattern = ScorePattern(tuple(accumulate(rng.choice((-3.0, -2.0, 0.0, 2.0, 3.0)) for _ in range(minutes))))
    horizon = Horizon.HALFTIME if minutes <= Horizon.HALFTIME.last_slot else Horizon.FINAL
    query = ForecastQuery(pattern, horizon, pregame_margin=margin, explain=True, explain_steps=steps)
    explanation = FORECASTER.forecast(query).explanation
    assert explanation is not None
    assert read_explanation(json.loads(EXPLANATION.json(explanation))) == explanation
