from __future__ import annotations

import json
import math
import random
from itertools import pairwise
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.adaptive import (
    ACI_STEP,
    HEAD_START,
    PID_GAIN,
    PID_INTEGRAL,
    QUARTER_MIDPOINTS,
    ROLLING_GAMES,
    AdaptationMethod,
    AdaptiveState,
    Observation,
    Tracker,
    TrackerKey,
    quarter_of,
    radius_of_alpha,
    static_score,
)
from dejavu_models.uncertainty.score_map import MAX_SCORE, TARGETS, ScoreMap

NORMAL = NormalDist()
CONFORMAL = (AdaptationMethod.ACI, AdaptationMethod.PID)
KEY = TrackerKey("one", Horizon.FINAL, 2)
OTHER = TrackerKey("one", Horizon.HALFTIME, 0)
RADII = st.lists(st.floats(0, MAX_SCORE), min_size=len(TARGETS), max_size=len(TARGETS))
GAMES = st.lists(st.floats(-7, 7), max_size=150)


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
    for method in AdaptationMethod:
        way = Tracker().map(method)
        assert [way(score) for score in (-4.0, -0.3, 1.0, 2.0, 5.0)] == pytest.approx([-4.0, -0.3, 1.0, 2.0, 5.0])
        assert Tracker().rolling_coverage(0.05, method) is None
    assert Tracker().static_rolling_coverage(0.05) is None


@given(GAMES)
def test_whatever_the_games_intervals_stay_nested_and_bounded(scores: list[float]) -> None:
    tracker = taught(scores)
    for method in AdaptationMethod:
        radii = tracker.radii(method)
        assert all(one < other for one, other in pairwise(radii))
        assert radii[0] > 0
        assert radii[-1] < MAX_SCORE + 0.1


def test_adaptive_conformal_inference_moves_by_its_step() -> None:
    """Gibbs & Candès 2021, equation 2: α + γ(α − miss)."""
    held, missed = Tracker().after(0.1), Tracker().after(3.0)
    assert held.alphas == pytest.approx([target + ACI_STEP * target for target in TARGETS])
    assert missed.alphas == pytest.approx([target - ACI_STEP * (1 - target) for target in TARGETS])


def test_pid_control_moves_by_a_share_of_the_largest_recent_score() -> None:
    start, step = Tracker().quantiles, PID_GAIN * 3.0
    missed = Tracker().after(3.0)
    assert missed.quantiles == pytest.approx(
        [quantile + step * (1 - target) for quantile, target in zip(start, TARGETS, strict=True)]
    )
    held = missed.after(0.0)
    assert held.quantiles == pytest.approx(
        [quantile - step * target for quantile, target in zip(missed.quantiles, TARGETS, strict=True)]
    )


def test_the_integral_of_pid_control_widens_intervals_that_have_missed_too_often() -> None:
    tracker = Tracker(games=199, excess=(5.0,) * len(TARGETS), recent=Tracker().after(2.0).recent)
    angle = 5.0 * math.log(200 + HEAD_START) / (200 + HEAD_START) * math.pi / 2
    due = [quantile + PID_INTEGRAL * 2.0 * math.tan(angle) for quantile in tracker.quantiles]
    assert tracker.radii(AdaptationMethod.PID) == pytest.approx([min(MAX_SCORE, each) for each in due])


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=130), st.floats(0.001, 0.999))
def test_the_rolling_coverage_is_the_share_of_recent_intervals_that_held(scores: list[float], alpha: float) -> None:
    tracker = Tracker()
    held: dict[AdaptationMethod, list[bool]] = {method: [] for method in AdaptationMethod}
    for score in scores:
        for method in AdaptationMethod:
            held[method].append(abs(score) <= tracker.map(method)(radius_of_alpha(alpha)) + 1e-9)
        tracker = tracker.after(score)
    for method in AdaptationMethod:
        assert tracker.rolling_coverage(alpha, method) == pytest.approx(fmean(held[method][-ROLLING_GAMES:]), abs=0.011)
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


def test_learning_leaves_the_state_that_it_began_with() -> None:
    before = AdaptiveState().after([Observation(KEY, 1.0)])
    kept = before.to_bytes()
    before.after([Observation(KEY, 5.0), Observation(OTHER, 1.0)])
    assert before.to_bytes() == kept


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"form":3,"trackers":[]}', b'{"form":1,"trackers":[{}]}', b'{"form":1,"trackers":3}'],
)
def test_what_is_no_state_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        AdaptiveState.from_bytes(content)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_teaches_nothing(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Tracker().after(score)


def test_a_snapshot_of_a_release_without_the_factor_of_the_season_has_that_of_its_recent_games() -> None:
    tracker = taught([1.4, -0.2, 2.1])
    content = AdaptiveState({KEY: tracker}).to_bytes(earlier=True)
    assert b"season" not in content
    assert all(len(game) == 3 for game in json.loads(content)["trackers"][0]["recent"])
    with pytest.raises(ValueError, match="form 1"):  # it can be computed again, then with the factor of all games
        AdaptiveState.from_bytes(content)
    found = AdaptiveState.from_bytes(content, earlier=True)
    assert found.trackers[KEY].season == tracker.season
    assert found.after([Observation(KEY, 1.0)]).trackers[KEY].radii(AdaptationMethod.PID) == tracker.after(1.0).radii(
        AdaptationMethod.PID
    )


class Walk:
    """Simulated games of one seed, tracked at 95 %; from game SHIFT on, scores have standard deviation `volatility`."""

    SHIFT = 150
    AT = TARGETS.index(0.05)

    def __init__(self, seed: int, volatility: float) -> None:
        rng = random.Random(seed)
        self.tracker = Tracker()
        self.radii: dict[AdaptationMethod, list[float]] = {method: [] for method in CONFORMAL}
        self.sizes: list[float] = []
        for game in range(self.SHIFT + 250):
            score = rng.gauss(0.0, 1.0 if game < self.SHIFT else volatility)
            self.sizes.append(abs(score))
            self.tracker = self.tracker.after(score)
            past = self.tracker.recent[-1]
            self.radii[AdaptationMethod.ACI].append(past.aci[self.AT])
            self.radii[AdaptationMethod.PID].append(past.pid[self.AT])

    def coverage(self, method: AdaptationMethod | None, first: int) -> float:
        """Returns the coverage from game `first` on; of static intervals if `method` is None."""
        radii = [radius_of_alpha(0.05)] * len(self.sizes) if method is None else self.radii[method]
        return fmean(size <= radius for size, radius in list(zip(self.sizes, radii, strict=True))[first:])


SEEDS = range(50)


def test_after_a_shift_static_intervals_lose_coverage_and_adaptive_ones_are_back_after_150_games() -> None:
    """Scores are twice as volatile after the shift; means over 50 seeds."""
    walks = [Walk(seed, 2.0) for seed in SEEDS]
    assert fmean(walk.coverage(None, Walk.SHIFT) for walk in walks) < 0.70
    for method in CONFORMAL:
        assert fmean(walk.coverage(method, Walk.SHIFT + 150) for walk in walks) == pytest.approx(0.95, abs=0.01)


def test_without_a_shift_adaptive_intervals_are_at_most_5_percent_wider() -> None:
    walks = [Walk(seed, 1.0) for seed in SEEDS]
    for method in CONFORMAL:
        assert fmean(walk.coverage(method, 0) for walk in walks) == pytest.approx(0.95, abs=0.01)
        assert fmean(fmean(walk.radii[method]) for walk in walks) / radius_of_alpha(0.05) < 1.05
