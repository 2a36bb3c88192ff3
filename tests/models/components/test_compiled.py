"""The compiled ensemble gives the numbers of vectorised NumPy, alone and for many; similar games: test_dejavu.py."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_calibration
from tests.support.builders.ensembles import ensemble, lstm, weights
from tests.support.reference.lstm import ReferenceLstm

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Possession, Side
from dejavu_models.components.compiled import CompiledGame, CompiledModels
from dejavu_models.components.ensemble import Ensemble, GameOpinions
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.types import HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import Situation
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.game import LatticeGame

CALIBRATION = symmetric_calibration()
MODELS = replace(ensemble(), members=(ensemble().members[0], lstm(kind=ReferenceLstm)))
COMPILED = CompiledModels(ensemble())
MARGINS = st.none() | st.floats(-30, 30)
POINTS = 1e-4
"""Greatest difference, in points or scales: the LSTM sums in another order than NumPy."""

LIVE = st.builds(
    LiveInputs,
    total_points=st.none() | st.integers(0, 240),
    last_score=st.none() | st.builds(LastScore, st.sampled_from(Side), st.integers(0, 60)),
    possession=st.none() | st.builds(Possession, st.sampled_from(Side), st.booleans()),
)


def some_of(*components: str) -> Ensemble:
    """Return the models with some components, which have the weight of the others."""
    members = tuple(each for each in MODELS.members if each.name in components)
    return Ensemble(MODELS.linear, members, weights(*components))


def walk(minutes: int, seed: int) -> tuple[float, ...]:
    """Return a pattern without equally near groups: for the last place, the searches could choose different ones."""
    rng = random.Random(seed)
    return tuple(accumulate(rng.choice((-3, -2, 0, 2, 3)) + rng.uniform(-0.4, 0.4) for _ in range(minutes)))


PATTERNS = st.builds(walk, st.integers(1, MAX_SLOTS), st.integers(0, 2**32))


def source_of(margin: float | None, *, line: bool) -> MarginSource:
    if margin is None:
        return MarginSource.UNKNOWN
    return MarginSource.LINE if line else MarginSource.KNOWN


def reference(
    models: Ensemble, pattern: tuple[float, ...], margin: float | None, live: LiveInputs, *, line: bool = False
) -> GameOpinions:
    """Return the opinions of the reference, with the live inputs after the last minute."""
    levels, margins = np.array([pattern]), np.array([math.nan if margin is None else margin])
    columns = np.full((1, len(pattern), len(LIVE_COLUMNS)), np.nan)
    columns[0, -1] = COMPILED.predict(pattern, margin, live=live).inputs
    return GameOpinions(models, source_of(margin, line=line), levels, margins, columns)


def horizons_of(pattern: tuple[float, ...]) -> list[tuple[int, Horizon]]:
    return [(index, horizon) for index, horizon in enumerate(HORIZONS) if len(pattern) <= horizon.last_slot]


def served(compiled: CompiledGame, horizon: Horizon, margin: float | None, *, line: bool) -> LatticeGame:
    """Return the distribution of a game as a forecaster makes it, without the shift of live inputs."""
    index = HORIZONS.index(horizon)
    situation = Situation(horizon, compiled.minute, source_of(margin, line=line))
    point, opinion = compiled.point(index), compiled.opinion(index)
    return CALIBRATION.game(situation, point, compiled.lead, margin, None, opinion)


def evaluated(
    models: Ensemble,
    pattern: tuple[float, ...],
    horizon: Horizon,
    margin: float | None,
    live: LiveInputs,
    *,
    line: bool,
) -> tuple[LatticeDistribution, float, float]:
    """Return the distribution of the reference, its point forecast and its scale."""
    index, minute, source = HORIZONS.index(horizon), len(pattern), source_of(margin, line=line)
    leads, known = np.array(pattern[-1:]), np.array([0.0 if margin is None else margin])
    given = np.array([math.nan if margin is None else margin])
    points = leads + models.linear.increments(minute, leads, given, line=line)[:, index]
    base = CALIBRATION.model(source).base(horizon, minute, points, leads, known, None)
    pooled = reference(models, pattern, margin, live, line=line).pool(base)
    return base.finished(pooled.below), float(pooled.points[0]), float(base.scales[0])


SETS = {
    "both": (MODELS, COMPILED),
    **{
        " and ".join(("linear", *names)): (some := some_of(*names), CompiledModels(some))
        for names in ((), ("dejavu",), ("lstm",))
    },
}


@pytest.mark.parametrize(("models", "compiled"), SETS.values(), ids=SETS)
@given(PATTERNS, MARGINS, LIVE, st.booleans())
def test_any_game_gets_the_distribution_of_numpy(
    models: Ensemble,
    compiled: CompiledModels,
    pattern: tuple[float, ...],
    margin: float | None,
    live: LiveInputs,
    line: bool,
) -> None:
    found = compiled.predict(pattern, margin, line=line, live=live)
    for index, horizon in horizons_of(pattern):
        game = served(found, horizon, margin, line=line)
        expected, point, scale = evaluated(models, pattern, horizon, margin, live, line=line)
        below = [game.cumulative(value) for value in VALUES.tolist()]
        assert below == pytest.approx(expected.below[0], abs=POINTS)
        assert game.point == pytest.approx(point, abs=POINTS * scale)
        assert game.home_lead_probability == pytest.approx(expected.home_leads[0], abs=POINTS)
        assert (found.opinion(index) is None) == (not models.components)


def test_a_pattern_without_a_minute_is_refused() -> None:
    with pytest.raises(KeyError, match="minute 0"):
        COMPILED.predict((), None)
    with pytest.raises(KeyError, match="minute 48"):
        COMPILED.predict_many([(walk(12, 0), None, False, NO_LIVE_INPUTS), ((0.0,) * 48, None, False, NO_LIVE_INPUTS)])
    with pytest.raises(ValueError, match="offsets"):
        COMPILED.columns(np.zeros(24), np.array([0, 12, 25]), np.zeros(2), 0)
    with pytest.raises(KeyError, match="minute -"):
        COMPILED.columns(np.zeros(24), np.array([0, 30, 24]), np.zeros(2), 0)
