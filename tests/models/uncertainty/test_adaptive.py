"""Adaptive intervals: scores of outcomes, the factor of the season that follows from them, and maps by it."""

from __future__ import annotations

import math
import random
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.adaptive import (
    BOUNDS,
    MAX_SCORE,
    ROLLING_GAMES,
    AdaptiveState,
    Observation,
    Tracker,
    TrackerKey,
    pooled,
    radius_of_alpha,
    scaled_scores,
    static_score,
)
from dejavu_models.uncertainty.issued import adapters

NORMAL = NormalDist()
KEY = TrackerKey("one", Horizon.FINAL, 2)
OTHER = TrackerKey("one", Horizon.HALFTIME, 0)


def taught(scores: list[float]) -> Tracker:
    tracker = Tracker()
    for score in scores:
        tracker = tracker.after(score)
    return tracker


def quantiles_of(centre: float, spread: float) -> tuple[float, ...]:
    return tuple(round(NormalDist(centre, spread).inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS)


@given(st.floats(-30, 30), st.floats(1, 20), st.integers(-80, 80), st.sampled_from([None, 0.8, 2.0]))
def test_the_static_score_of_an_outcome_is_its_distance_from_the_middle_in_standard_deviations(
    centre: float, spread: float, outcome: int, factor: float | None
) -> None:
    """Of an adapted forecast it is the one that the static forecast would have given."""
    adapted, scores = quantiles_of(centre, spread * (factor or 1)), () if factor is None else scaled_scores(factor)
    due = max(-MAX_SCORE, min(MAX_SCORE, (outcome - centre) / spread))
    found = static_score(adapted, scores, outcome)
    if abs(due) < 2 or factor is None:  # beyond, the adapted one has no recorded quantiles
        assert found == pytest.approx(due, abs=0.02)


@given(st.lists(st.integers(-40, 40), min_size=50, max_size=50), st.integers(-90, 90), st.integers(0, 50))
def test_the_static_score_never_falls_as_the_outcome_rises_and_is_bounded(
    values: list[int], outcome: int, more: int
) -> None:
    distribution = sorted(float(value) for value in values)
    one, other = (static_score(distribution, (), each) for each in (outcome, outcome + more))
    assert -MAX_SCORE <= one <= other <= MAX_SCORE


def test_an_outcome_on_several_equal_quantiles_has_the_score_of_their_mid_rank() -> None:
    distribution = [-10.0] * 20 + [0.0] * 10 + [10.0] * 20
    assert static_score(distribution, (), 0.0) == pytest.approx(0.0)
    # 40 % lie at −10: half of them count as below.
    assert static_score(distribution, (), -10.0) == pytest.approx(NORMAL.inv_cdf(0.2))
    stretched = [2 * NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS]
    edge = (NORMAL.cdf(stretched[19]) + NORMAL.cdf(stretched[20])) / 2
    assert static_score(distribution, stretched, -10.0) == pytest.approx(NORMAL.inv_cdf(edge / 2))
    assert static_score([3.0] * 50, (), 3.0) == pytest.approx(0.0)
    assert [static_score([3.0] * 50, (), outcome) for outcome in (2.0, 4.0)] == [-MAX_SCORE, MAX_SCORE]


@given(st.lists(st.floats(-4, 4), max_size=130), st.floats(0.001, 0.999))
def test_the_rolling_coverage_is_the_share_of_recent_intervals_that_held(scores: list[float], alpha: float) -> None:
    tracker, radius = Tracker(), radius_of_alpha(alpha)
    held: list[bool] = []
    for score in scores:
        held.append(abs(score) <= tracker.season.factor * radius + 1e-9)
        tracker = tracker.after(score)
        assert BOUNDS[0] <= tracker.season.factor <= BOUNDS[1]
    adapted, static = tracker.rolling_coverages(alpha)
    if not scores:
        assert (adapted, static) == (None, None)
        return
    assert adapted == pytest.approx(fmean(held[-ROLLING_GAMES:]), abs=0.011)
    assert static == pytest.approx(fmean(abs(score) <= radius for score in scores[-ROLLING_GAMES:]))


@given(
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.floats(-7, 7)), max_size=80),
    st.integers(0, 80),
)
def test_a_state_that_was_written_and_read_goes_on_as_if_it_had_not_been(
    games: list[tuple[TrackerKey, float]], cut: int
) -> None:
    lessons = [Observation(*game) for game in games]
    whole = AdaptiveState().after(lessons)
    of_key = [score for key, score in games if key is KEY]
    assert whole.of("one").get((Horizon.FINAL, 2), Tracker()) == taught(of_key), "from its own games alone"
    assert AdaptiveState(dict(reversed(list(whole.trackers.items())))).to_bytes() == whole.to_bytes()
    halfway = AdaptiveState.from_bytes(AdaptiveState().after(lessons[:cut]).to_bytes())
    assert halfway.after(lessons[cut:]) == whole
    assert halfway.after(lessons[cut:]).to_bytes() == whole.to_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"[3,[]]", b"[4,[[]]]", b"[4,3]"],
)
def test_what_is_no_state_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        AdaptiveState.from_bytes(content)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_teaches_nothing(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Tracker().after(score)


@pytest.mark.parametrize(
    ("volatility", "first", "static", "adapted", "widest"),
    [(1.1, 150, (0.0, 0.925), (0.938, 1.0), 1.2), (1.0, 0, (0.94, 0.96), (0.94, 0.96), 1.01)],
    ids=["a season a tenth wilder than calibrated", "no shift"],
)
def test_coverage_is_mostly_restored_after_a_shift_and_costs_little_without_one(
    volatility: float, first: int, static: tuple[float, float], adapted: tuple[float, float], widest: float
) -> None:
    """Means over 30 simulated seasons at 95 %; no season of 2019 to 2023 was that far off."""
    radius, factors = radius_of_alpha(0.05), list[float]()
    held_static, held_adapted = list[bool](), list[bool]()
    for seed in range(30):
        rng, tracker = random.Random(seed), Tracker()
        for game in range(600):
            size = abs(rng.gauss(0.0, volatility))
            factors.append(tracker.season.factor)
            held_static.append(size <= radius)
            if game >= first:
                held_adapted.append(size <= tracker.season.factor * radius)
            tracker = tracker.after(size)
    assert static[0] <= fmean(held_static) <= static[1]
    assert adapted[0] <= fmean(held_adapted) <= adapted[1]
    assert fmean(factors) < widest


def test_all_quarters_of_a_horizon_share_one_factor() -> None:
    wild, calm = Tracker(), Tracker()
    for _ in range(100):
        wild, calm = wild.after(1.3), calm.after(0.9)
    trackers = {(Horizon.FINAL, 0): wild, (Horizon.FINAL, 3): calm, (Horizon.HALFTIME, 0): calm}
    found = adapters(trackers)
    factors = {key: adapter.factor for key, adapter in found.items()}
    assert factors[Horizon.FINAL, 0] == factors[Horizon.FINAL, 3]
    assert factors[Horizon.FINAL, 0] == pytest.approx(pooled([wild.season, calm.season]).factor)
    assert factors[Horizon.HALFTIME, 0] == pytest.approx(calm.season.factor)
