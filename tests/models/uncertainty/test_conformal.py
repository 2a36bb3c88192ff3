from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import static_score
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_cells import LEAD_EDGES, UNSCALED, lead_groups
from dejavu_models.uncertainty.conformal_scores import LEVEL_SCORES, ConformalScores, ScoreGrid

RESIDUALS = st.lists(st.floats(-60, 60), min_size=2, max_size=80)
POINTS = st.floats(-80, 80)
LEADS = st.floats(-60, 60)


def scores(residuals: list[float]) -> ConformalScores:
    return ConformalScores(np.sort(np.array(residuals)))


def one_cell(residuals: list[float], threshold: float = 0.0) -> PredictiveDistribution:
    return PredictiveDistribution(threshold, (), (scores(residuals),))


@st.composite
def distributions(draw: st.DrawFn) -> PredictiveDistribution:
    edges = tuple(sorted(draw(st.sets(st.sampled_from(LEAD_EDGES)))))
    cells = tuple(scores(draw(RESIDUALS)) for _ in range(len(edges) + 1))
    scales = tuple(draw(st.lists(st.floats(0.1, 20), min_size=4, max_size=4)))
    return PredictiveDistribution(draw(st.sampled_from([0.0, 0.5])), edges, cells, scales)


def ends(distribution: PredictiveDistribution, alpha: float) -> tuple[float, float]:
    interval = distribution.interval(0.0, 0.0, alpha)
    return interval.lower, interval.upper


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=120, unique=True), st.floats(0.001, 0.999))
def test_each_tail_of_exchangeable_games_is_missed_no_more_often_than_alpha_allows(
    drawn: list[int], alpha: float
) -> None:
    """Each of n + 1 games is equally likely to be the next one: the coverage is the share over all of them."""
    values = np.array(drawn, dtype=float)
    assume(len(values) > 2 and alpha >= one_cell(values[1:].tolist()).smallest_alpha)
    below = above = 0
    for game in range(len(values)):
        low, high = ends(one_cell(np.delete(values, game).tolist()), alpha)
        below += values[game] < low
        above += values[game] > high
    assert below <= alpha / 2 * len(values) + 1e-6
    assert above <= alpha / 2 * len(values) + 1e-6


@pytest.mark.parametrize("score", [0.4, 1.2, 2.2, 2.4, 3.1, 5.0])
def test_however_far_out_the_place_of_a_score_is_where_an_outcome_has_that_score(score: float) -> None:
    """static_score inverts values_at, also for residuals with long or short tails."""
    rng = np.random.default_rng(0)
    for residuals in (rng.standard_t(3, 2000), rng.uniform(-12, 12, 2000), rng.exponential(9, 2000)):
        distribution = one_cell(residuals.tolist())
        lower, upper = distribution.values_at(3.0, 1.0, (-score, score))
        recorded = distribution.recorded_quantiles(3.0, 1.0)
        assert static_score(recorded, (), lower) == pytest.approx(-score, abs=0.1)
        assert static_score(recorded, (), upper) == pytest.approx(score, abs=0.1)


@given(distributions(), POINTS, LEADS, st.floats(0.01, 3))
def test_what_is_recorded_is_the_places_asked_for(
    distribution: PredictiveDistribution, point: float, lead: float, stretch: float
) -> None:
    stretched = [stretch * score for score in LEVEL_SCORES]
    for places, asked in ((None, LEVEL_SCORES), (ScoreGrid(stretched), stretched)):
        recorded = distribution.recorded_quantiles(point, lead, places)
        assert recorded == pytest.approx(distribution.values_at(point, lead, asked), abs=0.001)


@given(distributions(), POINTS, LEADS, st.floats(-90, 90), st.floats(0, 20))
def test_the_probability_of_a_differential_falls_as_it_rises_and_agrees_with_that_of_a_lead(
    distribution: PredictiveDistribution, point: float, lead: float, value: float, more: float
) -> None:
    lower, higher = (distribution.probability_above(point, lead, each) for each in (value, value + more))
    assert 0 < higher <= lower + 1e-12
    assert lower < 1
    of_lead = distribution.home_lead_probability_of(point, lead)
    assert distribution.probability_above(point, lead, distribution.threshold) == of_lead
    near = [distribution.probability_above(point, lead, distribution.threshold + by) for by in (-1e-6, 1e-6)]
    assert near[0] + 1e-9 >= of_lead >= near[1] - 1e-9


@given(st.integers(2, 5000))
def test_the_smallest_alpha_is_the_smallest(games: int) -> None:
    distribution = one_cell([0.0] * games)
    assert distribution.smallest_alpha == pytest.approx(2 / (games + 1))
    distribution.interval(0.0, 0.0, distribution.smallest_alpha)
    with pytest.raises(ValueError):
        distribution.interval(0.0, 0.0, distribution.smallest_alpha * (1 - 1e-5))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_no_interval_for_what_is_no_rate(alpha: float) -> None:
    with pytest.raises(ValueError):
        one_cell([float(value) for value in range(100)]).interval(0.0, 0.0, alpha)


@given(RESIDUALS, st.integers(-80, 80), st.floats(0.01, 0.99))
def test_leads_of_both_sides_and_ties_share_what_there_is(residuals: list[float], lead: int, fraction: float) -> None:
    """For the away team all signs flip: the remaining probability is the mass of sums that round to a tie."""
    point = lead + fraction
    home = one_cell(residuals, 0.5).home_lead_probability_of(point, 0.0)
    away = one_cell([-residual for residual in residuals], 0.5).home_lead_probability_of(-point, 0.0)
    sums = np.abs(point + np.array(residuals))
    tied = (sums < 0.5).sum() + 0.5 * (sums == 0.5).sum()
    # The next game counts half for each side.
    assert home + away == pytest.approx(1 - tied / (len(residuals) + 1))


def test_a_tie_is_no_lead_at_the_half_and_none_is_left_at_the_end() -> None:
    exact = [0.0] * 99
    assert [one_cell(exact, 0.5).home_lead_probability_of(point, 0.0) for point in (0.0, 1.0)] == [0.005, 0.995]
    assert [one_cell(exact, 0.0).home_lead_probability_of(point, 0.0) for point in (-0.1, 0.1)] == [0.005, 0.995]


def test_scales_let_one_cell_speak_of_groups_that_are_differently_uncertain() -> None:
    rng = np.random.default_rng(3)
    scales = (2.0, 4.0, 6.0, 9.0)

    def games(count: int) -> tuple[Floats, Floats]:
        leads = rng.normal(0, 10, count).round()
        return leads, leads + rng.normal(0, 1, count) * np.array(scales)[lead_groups(leads)]

    leads, outcomes = games(4000)
    distribution = PredictiveDistribution.fit(Horizon.FINAL, leads, leads, outcomes, scales=scales, min_cell=10**9)
    assert len(distribution.cells) == 1
    leads, outcomes = games(20_000)
    for group in range(4):
        rows = np.flatnonzero(lead_groups(leads) == group)
        found = [distribution.interval(lead, lead, 0.2) for lead in leads[rows].tolist()]
        hits = [outcome in interval for outcome, interval in zip(outcomes[rows].tolist(), found, strict=True)]
        assert np.mean(hits) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [0.0, float("nan")], [0.0, float("inf")], [[0.0]]])
def test_scores_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        ConformalScores(np.array(bad, dtype=float))


@pytest.mark.parametrize("edges", [(), (3.5, 8.5), (5.0,), (-3.5,), (float("nan"),), (float("inf"),)])
def test_cells_and_edges_must_fit_together(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        PredictiveDistribution(0.0, edges, (scores([0.0]), scores([1.0])))


@pytest.mark.parametrize("scales", [(), UNSCALED[1:], (0.0, *UNSCALED[1:]), (float("inf"), *UNSCALED[1:])])
def test_scales_are_positive_and_one_for_each_group(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        PredictiveDistribution(0.0, (), (scores([0.0]),), scales)


SITUATIONS = st.sampled_from(list(Horizon)).flatmap(
    lambda horizon: st.builds(
        Situation, st.just(horizon), st.integers(1, horizon.last_slot), st.sampled_from(MarginSource)
    )
)


def distribution(situation: Situation, games: int, scale: float) -> PredictiveDistribution:
    rng = np.random.default_rng(games)
    leads = rng.normal(0, 10, games)
    return PredictiveDistribution.fit(
        situation.horizon,
        leads,
        leads,
        leads + rng.normal(0, scale, games),
        scales=(scale, scale + 1, scale + 2, scale + 3),
        min_cell=40,
    )


@given(st.dictionaries(SITUATIONS, st.tuples(st.integers(1, 300), st.floats(1, 15)), min_size=1, max_size=8))
def test_a_calibration_comes_back_from_its_bytes(drawn: dict[Situation, tuple[int, float]]) -> None:
    calibration = Calibration({key: distribution(key, *value) for key, value in drawn.items()})
    content = calibration.to_bytes()
    back = Calibration.from_bytes(content)
    assert back.to_bytes() == content
    assert back.distributions.keys() == calibration.distributions.keys()
    assert back.smallest_alpha == calibration.smallest_alpha
    for situation, one in calibration.distributions.items():
        other = back.distributions[situation]
        assert (other.threshold, other.edges, other.scales) == (one.threshold, one.edges, one.scales)
        for mine, its in zip(one.cells, other.cells, strict=True):
            assert its.residuals == pytest.approx(mine.residuals, abs=1e-5)


@pytest.mark.parametrize(
    "key",
    [
        Situation(Horizon.HALFTIME, 24, MarginSource.UNKNOWN),
        Situation(Horizon.FINAL, 48, MarginSource.UNKNOWN),
        Situation(Horizon.FINAL, 0, MarginSource.UNKNOWN),
    ],
)
def test_what_is_no_situation_of_a_game_is_refused(key: Situation) -> None:
    one = PredictiveDistribution(0.0, (), (ConformalScores(np.zeros(3)),))
    with pytest.raises(ValueError, match="invalid situation"):
        Calibration({key: one})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("situations", np.zeros((1, 2), dtype=np.int16)),
        ("situations", np.array([[7, 18, 1]], dtype=np.int16)),
        ("situations", np.array([[1, 18, 4]], dtype=np.int16)),
        ("cells", np.array([0], dtype=np.int16)),
        ("cells", np.array([2], dtype=np.int16)),
        ("edges", np.array([3.5])),
        ("scales", np.ones((2, 4))),
        ("scales", np.ones((1, 3))),
        ("scales", np.zeros((1, 4))),
        ("sizes", np.array([0], dtype=np.int32)),
        ("sizes", np.array([4], dtype=np.int32)),
        ("residuals", np.array([0.0, 1.0, np.nan], dtype=np.float32)),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(column: str, value: np.ndarray) -> None:
    key = Situation(Horizon.FINAL, 18, MarginSource.KNOWN)
    good = Calibration({key: PredictiveDistribution(0.0, (), (ConformalScores(np.arange(3.0)),))}).to_bytes()
    with np.load(io.BytesIO(good)) as columns:
        changed = dict(columns) | {column: value}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **changed)
    with pytest.raises(ValueError):
        Calibration.from_bytes(buffer.getvalue())
