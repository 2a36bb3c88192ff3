"""One game alone: the same distribution as in a batch, and recorded quantiles that score like the distribution."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_calibration, symmetric_model

from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.types import CASES, DISTRIBUTION_LEVELS, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import static_score
from dejavu_models.uncertainty.lattice.calibration import SMALLEST_ALPHA, LatticeCalibration, Situation
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.game import LatticeGame
from dejavu_models.uncertainty.lattice.inputs import BEST_FIRST, LiveColumns, LiveKind
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS

CALIBRATION = symmetric_calibration()

SITUATIONS = st.sampled_from(HORIZONS).flatmap(
    lambda horizon: st.builds(
        Situation, st.just(horizon), st.integers(1, horizon.last_slot), st.just(MarginSource.KNOWN)
    )
)
LEADS = st.integers(-35, 35).map(float) | st.floats(-35, 35)
GAINS, MARGINS = st.floats(-8, 8), st.floats(-12, 12)
LIVE = st.none() | st.builds(
    lambda total, side, phase, kind: LiveColumns(np.array([total]), np.array([side]), np.array([phase]), kind),
    st.floats(0, 260),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.floats(0, 1),
    st.sampled_from(BEST_FIRST),
)


def both(
    situation: Situation, lead: float, gain: float, margin: float, live: LiveColumns | None = None
) -> tuple[LatticeGame, LatticeDistribution]:
    """Return a game's distribution alone and from the batch."""
    model = CALIBRATION.model(MarginSource.KNOWN, LiveKind.NONE if live is None else live.kind)
    point, one = lead + gain, np.ones(1)
    batch = model.distribution(situation.horizon, situation.minute, point * one, lead * one, margin * one, live)
    return CALIBRATION.game(situation, point, lead, margin, live), batch


@given(SITUATIONS, LEADS, GAINS, MARGINS, LIVE)
def test_a_game_alone_has_the_distribution_that_it_has_in_a_batch(
    situation: Situation, lead: float, gain: float, margin: float, live: LiveColumns | None
) -> None:
    alone, batch = both(situation, lead, gain, margin, live)
    assert [alone.cumulative(value) for value in VALUES.tolist()] == pytest.approx(batch.below[0], abs=1e-12)
    # What is served is at least 1e-9 from 0 and 1.
    assert alone.home_lead_probability == pytest.approx(batch.home_leads[0], abs=2e-9)
    for value in (-7.5, -1.0, -0.5, 0.0, 0.5, 3.0, 11.5):
        assert alone.probability_above(value) == pytest.approx(batch.mass[0, value < VALUES].sum(), abs=2e-9)
    due = batch.quantiles(DISTRIBUTION_LEVELS)[0].tolist()
    assert alone.quantiles(DISTRIBUTION_LEVELS) == list(alone.recorded_quantiles()) == due
    assert [alone.quantiles([level])[0] for level in DISTRIBUTION_LEVELS] == due


def test_a_level_beyond_those_of_the_tables_is_refused() -> None:
    alone, _ = both(Situation(Horizon.FINAL, 20, MarginSource.KNOWN), 3.0, 0.5, 1.0)
    assert alone.quantiles([SMALLEST_ALPHA / 2]) < [3.0]
    with pytest.raises(ValueError, match=r"level 0\.0004 is not in"):
        alone.quantiles([0.0004])
    with pytest.raises(ValueError, match="not less than 1"):
        alone.interval(1.0)


@given(SITUATIONS, LEADS, GAINS, st.floats(0, 7), st.floats(0, 3))
def test_beyond_the_recorded_levels_values_are_extrapolated_outwards(
    situation: Situation, lead: float, gain: float, score: float, more: float
) -> None:
    alone, _ = both(situation, lead, gain, 0.0)
    outer, lower, upper, outermost = alone.values_at([-score - more, -score, score, score + more])
    assert outer <= lower <= upper <= outermost
    assert all(value == int(value) for value in (outer, lower, upper, outermost))
    assert situation.horizon is Horizon.HALFTIME or 0.0 not in {outer, lower, upper, outermost}


@pytest.mark.parametrize("score", [0.4, 1.2, 2.2, 2.4, 3.1, 5.0])
def test_however_far_out_the_place_of_a_score_is_where_an_outcome_has_that_score(score: float) -> None:
    """`static_score` inverts `values_at` but for the rounding to a point, also for shapes with long or short tails."""
    model, levels = symmetric_model(), np.array(SHAPE_LEVELS)
    for shape in (model.shapes[0], np.sign(model.shapes[0]) * np.abs(model.shapes[0]) ** 1.3, 4 * levels - 2):
        of_shape = replace(model, shapes=np.tile(shape, (len(CASES), 1)))
        calibration = LatticeCalibration({(source, LiveKind.NONE): of_shape for source in MarginSource})
        game = calibration.game(Situation(Horizon.FINAL, 5, MarginSource.KNOWN), 3.0, 1.0)
        recorded = game.recorded_quantiles()
        for value, expected in zip(game.values_at((-score, score)), (-score, score), strict=True):
            less, more = (static_score(recorded, (), value + by) for by in (-1, 1))
            assert less <= expected <= more < less + 0.6


@given(SITUATIONS, LEADS, GAINS)
def test_recorded_quantiles_score_as_the_distribution_does(situation: Situation, lead: float, gain: float) -> None:
    """On average over outcomes, rounding costs the sum of squares of shares that are off by at most half a level."""
    alone, batch = both(situation, lead, gain, 0.0)
    recorded, outcomes = np.array(alone.recorded_quantiles()), VALUES.astype(float)
    scores = crps_of_quantiles(np.tile(recorded[:, None], len(outcomes)), outcomes)
    exact = LatticeDistribution(np.tile(batch.mass, (len(outcomes), 1))).crps(outcomes)
    off = np.searchsorted(recorded, outcomes, side="right") / len(recorded) - batch.below[0]
    assert np.abs(off).max() <= 0.5 / len(recorded) + 1e-6
    assert float(batch.mass[0] @ (scores - exact)) == pytest.approx(float(np.square(off).sum()), abs=1e-6)


GIVEN = {
    "total_points": 90.0,
    "last_score_side": 1.0,
    "last_score_seconds": 3.0,
    "possession_side": -1.0,
    "possession_shot_in_air": 0.0,
}


@pytest.mark.parametrize(
    ("source", "minute", "unknown", "kind"),
    [
        (MarginSource.KNOWN, 24, "", LiveKind.SCORES),  # possession counts late
        (MarginSource.KNOWN, 44, "", LiveKind.POSSESSION),
        (MarginSource.KNOWN, 44, "last_score_side", LiveKind.POSSESSION),
        (MarginSource.KNOWN, 44, "possession_side", LiveKind.SCORES),
        (MarginSource.KNOWN, 44, "total_points", None),
        (MarginSource.LINE, 44, "", LiveKind.POSSESSION),  # no tables for the line: those of ratings
        (MarginSource.UNKNOWN, 44, "", None),  # no tables with live inputs
    ],
)  # fmt: skip
def test_a_game_is_forecast_by_the_best_tables_whose_live_inputs_it_has(
    source: MarginSource, minute: int, unknown: str, kind: LiveKind | None
) -> None:
    situation = Situation(Horizon.FINAL, minute, source)
    calibration = LatticeCalibration(
        {key: model for key, model in CALIBRATION.models.items() if key[0] is not MarginSource.LINE}
    )
    live = calibration.live(situation, GIVEN | ({unknown: math.nan} if unknown else {}))
    assert (None if live is None else live.kind) is kind
    assert calibration.shift(situation, None) == 0.0
    if live is not None:
        assert calibration.shift(situation, live) == pytest.approx(0.3 if kind is LiveKind.SCORES else -0.3)
        with_live, without = (calibration.game(situation, 4.0, 4.0, 0.0, each) for each in (live, None))
        assert with_live.interval(0.05) != without.interval(0.05)


@pytest.mark.parametrize("kind", BEST_FIRST)
def test_tables_with_live_inputs_want_those_of_their_kind(kind: LiveKind) -> None:
    other, zero = next(each for each in BEST_FIRST if each is not kind), np.zeros(1)
    model = symmetric_model(kind)
    for live in (None, LiveColumns(np.array([90.0]), np.array([1.0]), np.array([0.1]), other)):
        with pytest.raises(ValueError, match=f"live inputs of the kind {kind.name}"):
            model.distribution(Horizon.FINAL, 24, zero, zero, zero, live)
