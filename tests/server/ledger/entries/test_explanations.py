"""Explanations in the canonical form: those of the compiled models are written by these, not a byte different."""

from __future__ import annotations

import copy
import json
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.native import native
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import MAX_SLOTS, Horizon
from dejavu_server.ledger.entries.canonical_json import dumps
from dejavu_server.ledger.entries.explanations import EXPLANATION, explanation_source, read_explanation

FORECASTER = load_bundle(default_bundle())


@pytest.mark.skipif(native is None, reason="the extension was not built")
@given(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), st.none() | st.floats(-30, 30), st.booleans())
def test_the_compiled_models_write_what_is_written_of_the_parts(
    minutes: int, seed: int, margin: float | None, steps: bool
) -> None:
    rng = random.Random(seed)
    pattern = ScorePattern(tuple(accumulate(rng.choice((-3.0, -2.0, 0.0, 2.0, 3.0)) for _ in range(minutes))))
    horizon = Horizon.HALFTIME if minutes <= Horizon.HALFTIME.last_slot else Horizon.FINAL
    query = ForecastQuery(pattern, horizon, pregame_margin=margin, explain=True, explain_steps=steps)
    explanation = FORECASTER.forecast(query).explanation
    assert explanation is not None
    assert explanation.source is not None
    plain = copy.copy(explanation)
    assert plain.source is None
    written = dumps(explanation_source(explanation))
    assert written == EXPLANATION.json(plain) == dumps(EXPLANATION.json_of(plain))
    assert read_explanation(json.loads(written)) == explanation
