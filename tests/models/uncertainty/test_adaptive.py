from __future__ import annotations

import math
import random
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.adaptive import (
    QUARTER_MIDPOINTS,
    ROLLING_GAMES,
    AdaptiveState,
    Observation,
    Tracker,
    TrackerKey,
    quarter_of,
    radius_of_alpha,
    scaled_radii,
    static_score,
)
from dejavu_models.uncertainty.issued import adapters
from dejavu_models.uncertainty.score_map import MAX_SCORE, TARGETS, ScoreMap
from dejavu_models.uncertainty.season_scale import BOUNDS, SeasonScale, pooled

NORMAL = NormalDist()
KEY = TrackerKey("one", Horizon.FINAL, 2)
OTHER = TrackerKey("one", Horizon.HALFTIME, 0)
RADII = st.lists(st.floats(0, MAX_SCORE), min_size=len(TARGETS), max_size=len(TARGETS))


def taught(scores: list[float]) -> Tracker:
    tracker = Tracker()
    for score in scores:
        tracker = tracker.after(score)
    return tracker


def quantiles_of(centre: float, spread: float) -> tuple[float, ...]:
    return tuple(round(NormalDist(centre, spread).inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS)


def test_stages_are_quarters_and_their_middles_lie_in_them() -> None:
    assert [quarter_of(minute) for minute in (1, 12, 13, 24, 25, 36, 37, 47)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [quarter_of(middle) for middle in QUARTER_MIDPOINTS] == [0, 1, 2, 3]


@given(st.floats(-30, 30), st.floats(1, 20), st.integers(-80, 80))
def test_the_static_score_of_an_outcome_is_its_distance_from_the_middle_in_standard_deviations(
    centre: float, spread: float, outcome: int
) -> None:
    due = max(-MAX_SCORE, min(MAX_SCORE, (outcome - centre) / spread))
    assert static_score(quantiles_of(centre, spread), (), outcome) == pytest.approx(due, abs=0.02)


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


def test_the_static_score_of_an_adapted_forecast_is_the_one_that_the_static_forecast_would_have_given() -> None:
    stretched = ScoreMap([2 * NORMAL.inv_cdf(1 - target / 2) for target in TARGETS])
    adapted = quantiles_of(4.0, 20.0)
    for outcome in (-30, -3, 4, 17, 60):
        assert static_score(adapted, stretched.distribution, outcome) == pytest.approx((outcome - 4) / 10, abs=0.02)


@pytest.mark.parametrize(("quantiles", "scores"), [(49, 0), (51, 0), (50, 49)])
def test_a_distribution_of_another_length_has_no_score(quantiles: int, scores: int) -> None:
    with pytest.raises(ValueError, match="expected 50"):
        static_score([float(place) for place in range(quantiles)], [float(place) for place in range(scores)], 1.0)


@given(RADII, st.floats(-9, 9), st.floats(0, 5))
def test_a_map_rises_is_odd_and_has_an_inverse_whatever_the_radii(
    radii: list[float], score: float, more: float
) -> None:
    way = ScoreMap(radii)
    assert way(0.0) == 0.0
    assert way(-score) == -way(score)
    assert way(score) <= way(score + more)
    assert way.inverse(way(score)) == pytest.approx(max(-MAX_SCORE, min(MAX_SCORE, score)), abs=1e-6)
    assert list(way.distribution) == sorted(way.distribution)


def test_a_map_goes_through_the_radii_and_on_in_proportion() -> None:
    way = ScoreMap([0.7, 1.5, 2.0, 2.5, 4.0])
    assert [way(radius_of_alpha(target)) for target in TARGETS] == pytest.approx([0.7, 1.5, 2.0, 2.5, 4.0])
    assert way(3 * radius_of_alpha(0.02)) == pytest.approx(12.0)


def test_a_tracker_that_has_learned_nothing_changes_nothing() -> None:
    way = ScoreMap(scaled_radii(Tracker().season.factor))
    assert [way(score) for score in (-4.0, -0.3, 1.0, 2.0, 5.0)] == pytest.approx([-4.0, -0.3, 1.0, 2.0, 5.0])
    assert Tracker().rolling_coverage(0.05) is None
    assert Tracker().static_rolling_coverage(0.05) is None


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=130), st.floats(0.001, 0.999))
def test_the_rolling_coverage_is_the_share_of_recent_intervals_that_held(scores: list[float], alpha: float) -> None:
    tracker = Tracker()
    held: list[bool] = []
    for score in scores:
        held.append(abs(score) <= tracker.season.factor * radius_of_alpha(alpha) + 1e-9)
        tracker = tracker.after(score)
    assert tracker.rolling_coverage(alpha) == pytest.approx(fmean(held[-ROLLING_GAMES:]), abs=0.011)
    static = fmean(abs(score) <= radius_of_alpha(alpha) for score in scores[-ROLLING_GAMES:])
    assert tracker.static_rolling_coverage(alpha) == pytest.approx(static)


@given(
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.floats(-7, 7)), max_size=80),
    st.integers(0, 80),
)
def test_a_state_that_was_written_and_read_goes_on_as_if_it_had_not_been(
    games: list[tuple[TrackerKey, float]], cut: int
) -> None:
    lessons = [Observation(*game) for game in games]
    whole = AdaptiveState().after(lessons)
    halfway = AdaptiveState.from_bytes(AdaptiveState().after(lessons[:cut]).to_bytes())
    assert halfway.after(lessons[cut:]) == whole
    assert halfway.after(lessons[cut:]).to_bytes() == whole.to_bytes()


def test_trackers_learn_from_their_own_games_alone() -> None:
    mixed = AdaptiveState().after([Observation(KEY, 1.0), Observation(OTHER, 3.0), Observation(KEY, -2.0)])
    assert mixed.of("one") == {
        (Horizon.FINAL, 2): taught([1.0, -2.0]),
        (Horizon.HALFTIME, 0): taught([3.0]),
    }
    assert mixed.of("another") == {}
    swapped = AdaptiveState().after([Observation(OTHER, 3.0), Observation(KEY, 1.0), Observation(KEY, -2.0)])
    assert swapped.to_bytes() == mixed.to_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"form":2,"trackers":[]}', b'{"form":3,"trackers":[{}]}', b'{"form":3,"trackers":3}'],
)
def test_what_is_no_state_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        AdaptiveState.from_bytes(content)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_teaches_nothing(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Tracker().after(score)


class Walk:
    """A simulated season of one seed, tracked at 95 %, whose scores have a standard deviation."""

    def __init__(self, seed: int, volatility: float) -> None:
        rng = random.Random(seed)
        tracker = Tracker()
        self.radii: list[float] = []
        self.sizes: list[float] = []
        for _ in range(600):
            score = rng.gauss(0.0, volatility)
            self.sizes.append(abs(score))
            self.radii.append(tracker.season.factor * radius_of_alpha(0.05))
            tracker = tracker.after(score)

    def coverage(self, first: int = 0, *, static: bool = False) -> float:
        """Return the coverage from game `first` on."""
        radii = [radius_of_alpha(0.05)] * len(self.sizes) if static else self.radii
        return fmean(size <= radius for size, radius in list(zip(self.sizes, radii, strict=True))[first:])


SEEDS = range(30)


def test_in_a_season_a_tenth_wilder_than_calibrated_most_of_the_coverage_is_back_after_150_games() -> None:
    """Means over 30 seeds; no season of 2019 to 2023 was that far off."""
    walks = [Walk(seed, 1.1) for seed in SEEDS]
    assert fmean(walk.coverage(static=True) for walk in walks) < 0.925
    assert fmean(walk.coverage(150) for walk in walks) > 0.938


def test_without_a_shift_adaptive_intervals_are_at_most_1_percent_wider() -> None:
    walks = [Walk(seed, 1.0) for seed in SEEDS]
    assert fmean(walk.coverage() for walk in walks) == pytest.approx(0.95, abs=0.01)
    assert fmean(fmean(walk.radii) for walk in walks) / radius_of_alpha(0.05) < 1.01


SQUARES = st.lists(st.floats(0, MAX_SCORE**2), max_size=40)


def after(squares: list[float]) -> SeasonScale:
    state = SeasonScale()
    for square in squares:
        state = state.after(square)
    return state


@pytest.mark.parametrize("volatility", [0.9, 1.0, 1.1])
def test_the_factor_nears_the_spread_of_the_scores(volatility: float) -> None:
    rng = random.Random(3)
    factor = after([rng.gauss(0, volatility) ** 2 for _ in range(4000)]).factor
    # About two thirds of the weight lies on games, the rest on the prior.
    assert factor == pytest.approx((1 + (volatility**2 - 1) * 0.66) ** 0.5, abs=0.05)


@given(SQUARES)
def test_no_outcomes_move_the_factor_beyond_its_bounds(squares: list[float]) -> None:
    assert BOUNDS[0] <= after(squares).factor <= BOUNDS[1]


@given(SQUARES)
def test_rounding_keeps_the_factor(squares: list[float]) -> None:
    assert after(squares).rounded(9).factor == pytest.approx(after(squares).factor, abs=1e-9)


def test_all_quarters_of_a_horizon_share_one_factor() -> None:
    wild, calm = Tracker(), Tracker()
    for _ in range(100):
        wild, calm = wild.after(1.3), calm.after(0.9)
    trackers = {(Horizon.FINAL, 0): wild, (Horizon.FINAL, 3): calm, (Horizon.HALFTIME, 0): calm}
    found = adapters(trackers)
    factors = {key: adapter.map(1.0) for key, adapter in found.items()}
    assert factors[Horizon.FINAL, 0] == factors[Horizon.FINAL, 3]
    assert factors[Horizon.FINAL, 0] == pytest.approx(pooled([wild.season, calm.season]).factor)
    assert factors[Horizon.HALFTIME, 0] == pytest.approx(calm.season.factor)
