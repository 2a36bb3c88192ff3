"""Distributions on whole numbers: of one game as of a batch, for home as for away, with conformal ranks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.models import symmetric_calibration, symmetric_model

from dejavu_models.arrays import Floats
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.types import CASES, DISTRIBUTION_LEVELS, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import static_score
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration, LatticeGame, Situation
from dejavu_models.uncertainty.lattice.distribution import (
    EDGES,
    LARGEST,
    VALUES,
    LatticeDistribution,
    from_cumulative,
)
from dejavu_models.uncertainty.lattice.margin_model import BEST_FIRST, LATE_MINUTES, LiveColumns, LiveKind
from dejavu_models.uncertainty.lattice.shapes import (
    SHAPE_LEVELS,
    TAILS,
    UNRANKED,
    calibrated,
    cells,
    check_ranks,
    cumulative,
    knots,
    ranks_of,
    weighted_quantiles,
)

SHAPE = weighted_quantiles(np.random.default_rng(0).normal(size=20_000), np.ones(20_000))


def distribution(center: float, scale: float, *, ties: bool) -> LatticeDistribution:
    return from_cumulative(cumulative(SHAPE, (EDGES[None, :] - center) / scale), ties=ties)


centers, scales = st.floats(-60, 60), st.floats(0.3, 20)


@given(center=centers, scale=scales, ties=st.booleans(), alpha=st.floats(0.002, 0.99))
def test_an_interval_has_whole_ends_and_at_most_half_of_alpha_beyond_each(
    center: float, scale: float, ties: bool, alpha: float
) -> None:
    made = distribution(center, scale, ties=ties)
    assert made.mass.sum() == pytest.approx(1)
    assert (made.mass >= 0).all()
    if not ties:  # and no side is impossible
        assert made.mass[0, LARGEST] == 0
        assert 0 < made.home_leads[0] < 1
    lower, upper = (int(end[0]) for end in made.intervals(alpha))
    below, above = made.mass[0, lower > VALUES].sum(), made.mass[0, upper < VALUES].sum()
    assert below <= alpha / 2 + 1e-9
    assert above <= alpha / 2 + 1e-9
    # One value less on either side would leave more than that outside.
    assert made.mass[0, lower >= VALUES].sum() >= alpha / 2 - 1e-9
    assert made.mass[0, upper <= VALUES].sum() >= alpha / 2 - 1e-9


@given(center=st.floats(-30, 30), scale=st.floats(0.5, 15), outcome=st.integers(-60, 60), ties=st.booleans())
def test_crps_is_the_expected_distance_less_half_of_that_of_two_draws(
    center: float, scale: float, outcome: int, ties: bool
) -> None:
    made = distribution(center, scale, ties=ties)
    mass = made.mass[0]
    distances = np.abs(VALUES[:, None] - VALUES[None, :])
    expected = mass @ np.abs(VALUES - outcome) - mass @ distances @ mass / 2
    assert made.crps(np.array([float(outcome)]))[0] == pytest.approx(expected, abs=1e-9)


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
    base = model.base(situation.horizon, situation.minute, point * one, lead * one, margin * one, live)
    return CALIBRATION.game(situation, point, lead, margin, live), base.finished(base.prediction.below)


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
        (MarginSource.KNOWN, 44, "possession_side", LiveKind.SCORES),
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


MODEL = symmetric_model()


def points_of(leads: np.ndarray, margins: np.ndarray) -> np.ndarray:
    return leads + 0.2 * margins


@given(when=st.sampled_from(CASES), lead=st.integers(-30, 30), margin=st.floats(-12, 12))
def test_the_other_side_has_the_mirrored_distribution(when: tuple[int, int], lead: int, margin: float) -> None:
    horizon, minute = HORIZONS[when[0]], when[1]
    if not lead and horizon is Horizon.FINAL and minute in LATE_MINUTES:
        return  # without a leader nothing is towards one
    leads, margins = np.array([lead, -lead], dtype=float), np.array([margin, -margin])
    base = MODEL.base(horizon, minute, points_of(leads, margins), leads, margins)
    made = base.finished(base.prediction.below)
    assert made.mass[0] == pytest.approx(made.mass[1][::-1], abs=1e-9)


ROUNDING = 1e-6 * len(TAILS)
"""Sum of the differences that ranks keep between levels: 1e-6 from each to the next."""


def transforms(games: int, seed: int, power: float) -> Floats:
    """Return transforms by tables that are too narrow (a power below 1) or too wide, of games with similar minutes."""
    rng = np.random.default_rng(seed)
    sizes = rng.random((games, 1)) ** power * rng.random((games, len(CASES))) ** 0.1
    return 0.5 + rng.choice([-0.5, 0.5], (games, len(CASES))) * sizes


@given(games=st.integers(2, 12), seed=st.integers(0, 10**6), power=st.floats(0.05, 8))
@example(games=2, seed=2, power=4.3125)  # all levels near the median end at one game
def test_a_new_game_is_covered_as_often_as_promised(games: int, seed: int, power: float) -> None:
    """Each game in turn is new to the ranks of the others; the bound holds on average over games and minutes."""
    of_all = transforms(games, seed, power)
    held = np.empty((games, len(CASES), len(TAILS)))
    for game in range(games):
        reach = 0.5 - ranks_of(np.delete(of_all, game, axis=0))
        held[game] = np.abs(of_all[game] - 0.5)[:, None] <= reach + ROUNDING
    # Levels without ranks, as there are too few games, are those of the tables, without a guarantee.
    promised = (1 - 2 * TAILS) * games <= games - 1 + 1e-9
    for rows in cells():
        share = held[:, rows].mean(axis=(0, 1))
        assert (share[promised] >= (1 - 2 * TAILS[promised]) - 1e-9).all()


def test_ranks_of_true_tables_change_nothing_and_those_of_narrow_ones_widen_them() -> None:
    rng = np.random.default_rng(1)
    true = rng.random((20_000, len(CASES)))
    assert ranks_of(true) == pytest.approx(UNRANKED, abs=0.012)
    narrow = 0.5 + np.sign(true - 0.5) * np.sqrt(np.abs(true - 0.5) / 2)
    assert (ranks_of(narrow)[:, 4:-1] < UNRANKED[:, 4:-1] - 0.002).all()


@given(games=st.integers(1, 5), seed=st.integers(0, 10**6), below=st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_a_calibrated_level_rises_with_that_of_the_tables_and_keeps_the_median(
    games: int, seed: int, below: list[float]
) -> None:
    ranks = ranks_of(transforms(games, seed, 1.0))
    check_ranks(ranks.astype(np.float32).astype(np.float64))
    levels = calibrated(ranks[0], np.array([0.0, *sorted(below), 1.0]))
    assert (np.diff(levels) >= 0).all()
    assert (levels[0], levels[-1]) == (0.0, 1.0)
    assert calibrated(ranks[0], np.array([0.5])) == pytest.approx([0.5])
    assert all((np.diff(each) > 0).all() for each in knots(ranks[0]))
