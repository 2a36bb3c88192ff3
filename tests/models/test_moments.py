"""Forecasts at any second: between those of whole minutes, at the end by tables, consistent with arithmetic."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.models import moment_at
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_models.arrays import Floats
from dejavu_models.betting import Market, MarketKind
from dejavu_models.errors import InvalidInput, UnsupportedMoment
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import MOMENTS
from dejavu_models.moments import CHANGES, MOST_LEAD, NOT_KNOWN, SECONDS, MomentModel
from dejavu_models.types import HORIZONS, Forecast, Horizon
from dejavu_models.uncertainty.lattice.calibration import LatticeGame
from dejavu_models.uncertainty.lattice.distribution import LARGEST, VALUES, LatticeDistribution
from dejavu_store.default_bundles import default_bundle

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
MODEL = MomentModel.from_bytes((default_bundle() / MOMENTS).read_bytes())
WHEN = st.sampled_from(HORIZONS)
SECOND, LEAD = st.floats(0, 300), st.integers(-40, 40)
SIDES = (-1, 0, 1)
BALL = st.sampled_from(
    [(side, 0, 0) for side in SIDES]
    + [(side, 1, 0) for side in (-1, 1)]
    + [(side, 0, coming) for side in (-1, 1) for coming in (1, 2, 3)]
)
"""The side with the ball, whether its shot is in the air, and its free throws to come."""
MARGIN = st.floats(-40, 40)


def at_end(horizon: Horizon, second: float, lead: float, ball: tuple[int, int, int], margin: float) -> Floats:
    """Return the probabilities of the differentials at the end of a period, (161,), by arithmetic on the tables."""
    side, in_air, coming = ball
    if coming:
        after_made, after_missed = ((-side, 0, 0), (side, 1, 0)) if coming == 1 else ((side, 0, coming - 1),) * 2
        made, missed = (
            at_end(horizon, second, points, after, margin)
            for points, after in ((lead + side, after_made), (lead, after_missed))
        )
        return MODEL.free_throw * made + (1 - MODEL.free_throw) * missed
    seconds = SECONDS[horizon]
    row = max(place for place in range(len(seconds) - 1) if seconds[place] <= second)
    share = (second - seconds[row]) / (seconds[row + 1] - seconds[row])
    tables = MODEL.mass[horizon][NOT_KNOWN if not side else in_air]
    expected, result = lead + MODEL.drift * second * margin, np.zeros(2 * LARGEST + 1)
    for start, weight in ((floor(expected), 1 - expected % 1), (floor(expected) + 1, expected % 1)):
        place = min(max((side or 1) * start, -MOST_LEAD), MOST_LEAD) + MOST_LEAD
        changes = (1 - share) * tables[row, place] + share * tables[row + 1, place]
        for change, probability in zip(CHANGES.tolist(), changes.tolist(), strict=True):
            result[min(max(start + (side or 1) * change, -LARGEST), LARGEST) + LARGEST] += weight * probability
    result /= result.sum()
    return result


def due(horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float) -> Floats:
    """Return the probabilities of the differentials at a horizon, (161,)."""
    mass = at_end(horizon, second, lead, ball, margin)
    if horizon is FINAL:  # a tie goes to overtimes until there is none
        overtime = at_end(FINAL, 300.0, 0.0, (0, 0, 0), margin)
        overtime[LARGEST] = 0.0
        mass, ties = np.where(VALUES == 0, 0.0, mass), mass[LARGEST]
        mass += ties * overtime / overtime.sum()
    return mass


def game(horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float) -> LatticeGame:
    side, in_air, coming = ball
    return MODEL.game(horizon, second, lead, side, margin, in_air=bool(in_air), free_throws=coming)


@given(WHEN, SECOND, LEAD, BALL, MARGIN)
def test_the_distribution_is_that_of_the_tables(
    horizon: Horizon, second: float, lead: int, ball: tuple[int, int, int], margin: float
) -> None:
    second = min(second, SECONDS[horizon][-1])
    made, expected = game(horizon, second, lead, ball, margin), due(horizon, second, lead, ball, margin)
    assert [made.cumulative(value) for value in VALUES.tolist()] == pytest.approx(np.cumsum(expected), abs=1e-9)
    assert made.home_lead_probability == pytest.approx(expected[LARGEST + 1 :].sum(), abs=1e-8)
    assert made.point == pytest.approx(expected @ VALUES, abs=1e-8)
    levels = [0.025, 0.5, 0.975]
    assert made.quantiles(levels) == LatticeDistribution(expected[None]).quantiles(levels)[0].tolist()
    assert made.calibration_games == MODEL.games


@given(WHEN, SECOND, BALL, MARGIN)
def test_the_probability_to_win_never_falls_with_the_lead(
    horizon: Horizon, second: float, ball: tuple[int, int, int], margin: float
) -> None:
    wins = [game(horizon, second, lead, ball, margin).home_lead_probability for lead in range(-40, 41)]
    assert np.diff(wins).min() > -1e-6


SHIPPED = shipped_bundle()
PLAIN = Forecaster(SHIPPED.manifest, SHIPPED.models, SHIPPED.calibration, SHIPPED.rating_filter)
"""The shipped models without tables of moments."""


def query(elapsed: float, lead: int, horizon: Horizon = FINAL, **options: object) -> ForecastQuery:
    """Return a query of a moment after a pattern that led by as much."""
    moment = moment_at(elapsed, lead)
    fields = {"pregame_margin": 4.0, "moment": moment, **options}
    return ForecastQuery(ScorePattern((float(lead),) * moment.slots), horizon, **fields)  # type: ignore[arg-type]


def of_minute(minute: int, lead: int, horizon: Horizon = FINAL, **options: object) -> ForecastQuery:
    fields = {"pregame_margin": 4.0, **options}
    return ForecastQuery(ScorePattern((float(lead),) * minute), horizon, **fields)  # type: ignore[arg-type]


def numbers(made: Forecast) -> tuple[float, ...]:
    return (made.point, made.interval.lower, made.interval.upper, made.home_lead_probability)


@given(st.integers(1, 44), st.integers(-15, 15), st.sampled_from([HALF, FINAL]))
def test_at_the_end_of_a_minute_it_is_the_forecast_of_the_minute(minute: int, lead: int, horizon: Horizon) -> None:
    minute = min(minute, 22) if horizon is HALF else minute
    made = SHIPPED.forecast(query(60.0 * minute, lead, horizon))
    assert numbers(made) == pytest.approx(numbers(SHIPPED.forecast(of_minute(minute, lead, horizon))), abs=1e-9)
    assert made.moment is not None
    assert made.elapsed_minutes == minute


@given(st.integers(1, 43), st.floats(0, 1), st.integers(-15, 15))
def test_between_minutes_it_is_the_mixture_of_both_for_its_lead(minute: int, share: float, lead: int) -> None:
    made = SHIPPED.forecast(query(60 * (minute + share), lead))
    before, after = (SHIPPED.forecast(of_minute(each, lead)) for each in (minute, minute + 1))
    exact = moment_at(60 * (minute + share), lead).elapsed / 60 - minute
    assert made.point == pytest.approx((1 - exact) * before.point + exact * after.point, abs=1e-6)
    chances = sorted((before.home_lead_probability, after.home_lead_probability))
    assert chances[0] - 1e-9 <= made.home_lead_probability <= chances[1] + 1e-9
    for name in ("lower", "upper"):
        ends = sorted(getattr(each.interval, name) for each in (before, after))
        assert ends[0] - 1 <= getattr(made.interval, name) <= ends[1] + 1


@given(st.floats(60, 3400), st.integers(-25, 25), st.sampled_from([None, Side.HOME, Side.AWAY]), st.booleans())
def test_every_second_has_a_forecast_without_a_jump(elapsed: float, lead: int, side: Side | None, in_air: bool) -> None:
    live = LiveInputs() if side is None else LiveInputs(possession=Possession(side, in_air))
    now = SHIPPED.forecast(query(elapsed, lead, live=live))
    assert now.interval.lower <= now.point <= now.interval.upper
    if elapsed % 60 and elapsed % 300:
        soon = SHIPPED.forecast(query(elapsed + 1e-6, lead, live=live))
        assert soon.home_lead_probability == pytest.approx(now.home_lead_probability, abs=1e-4)


@pytest.mark.parametrize(("elapsed", "lead", "least"), [(2879.0, 12, 0.999), (2879.9, 4, 0.999), (3179.5, 6, 0.999)])
def test_no_forecast_contradicts_arithmetic(elapsed: float, lead: int, least: float) -> None:
    for sign in (1, -1):
        made = SHIPPED.forecast(query(elapsed, sign * lead, pregame_margin=-sign * 15.0))
        chance = made.home_lead_probability if sign > 0 else 1 - made.home_lead_probability
        assert chance >= least


def test_an_overtime_begins_with_a_jump_ball_whoever_had_the_ball() -> None:
    ball = LiveInputs(possession=Possession(Side.HOME, shot_in_air=True))
    (end, none), (late, unknown) = [
        [numbers(SHIPPED.forecast(query(elapsed, 0, pregame_margin=0.0, live=live))) for live in (ball, LiveInputs())]
        for elapsed in (2880.0, 2879.0)
    ]
    assert end == none
    assert end[-1] == pytest.approx(0.5)
    assert late != unknown


def free_throws(coming: int, live: LiveInputs, lead: int = -1) -> ForecastQuery:
    """Return a query with ten seconds left."""
    return ForecastQuery(ScorePattern((0.0,) * 47), FINAL, live=live, moment=Moment(4, 10.0, lead, coming))


def test_free_throws_to_come_count_as_they_may_go() -> None:
    home = LiveInputs(possession=Possession(Side.HOME))
    chances = [SHIPPED.forecast(free_throws(coming, home)).home_lead_probability for coming in range(4)]
    assert chances[0] < 0.5 < chances[2], "down 1, with two free throws or with none"
    assert chances[1] < chances[2] < chances[3]
    balls = (LiveInputs(possession=Possession(Side.AWAY)), LiveInputs())
    other, unknown = (SHIPPED.forecast(free_throws(0, ball)).home_lead_probability for ball in balls)
    assert other < unknown < chances[0]
    made = SHIPPED.forecast(free_throws(0, LiveInputs(possession=Possession(Side.AWAY)), 0)).home_lead_probability
    missed = SHIPPED.forecast(free_throws(0, LiveInputs(possession=Possession(Side.HOME, True)))).home_lead_probability
    share = (chances[1] - missed) / (made - missed)
    assert 0.7 < share < 0.85, "the share of free throws that are made"


def test_free_throws_need_a_side_that_has_the_ball() -> None:
    for live in (LiveInputs(), LiveInputs(possession=Possession(Side.HOME, shot_in_air=True))):
        with pytest.raises(InvalidInput, match="without a side that has the ball"):
            free_throws(2, live)


@pytest.mark.parametrize(
    ("elapsed", "horizon", "minute"),
    [
        (1439.0, HALF, 23),
        (1801.0, FINAL, 31),
        (2870.0, FINAL, 47),
    ],
)
def test_the_similar_games_of_a_moment_are_those_of_the_minute_that_it_is_in(
    elapsed: float, horizon: Horizon, minute: int
) -> None:
    made = SHIPPED.forecast(query(elapsed, 2, horizon, explain=True))
    assert made.explanation is not None
    assert made.explanation.similar_games
    for game in made.explanation.similar_games:
        course = SHIPPED.course(made, game)
        assert len(course) == horizon.last_slot, "from tip-off"
        assert course[minute - 1] == game.differential


def test_overtime_has_no_similar_games() -> None:
    made = present(SHIPPED.forecast(query(2890.0, 2, explain=True)).explanation)
    assert (made.similar_games, made.similar_summary) == ((), None)


@pytest.mark.parametrize(
    ("elapsed", "horizon", "staked"),
    [
        (2639.0, FINAL, True),
        (2641.0, FINAL, False),
        (2900.0, FINAL, False),
        (1319.0, HALF, True),
        (1430.0, HALF, False),
    ],
)
def test_a_late_moment_has_no_stake_since_its_price_may_know_more(
    elapsed: float, horizon: Horizon, staked: bool
) -> None:
    chance = SHIPPED.forecast(query(elapsed, -1, horizon)).home_lead_probability
    market = Market(line=0.0, above_odds=1.06 / chance, below_odds=0.93 / (1 - chance))
    made = present(SHIPPED.forecast(query(elapsed, -1, horizon, markets=(market,))).market)
    assert (not made.implausible, not made.mismatched) == (True, True)
    assert (made.stake > 0, made.unrated) == (staked, not staked)


def test_a_model_without_tables_forecasts_moments_up_to_the_last_minute_and_says_so() -> None:
    assert numbers(PLAIN.forecast(query(2805.0, 2))) != numbers(SHIPPED.forecast(query(2805.0, 2)))
    for elapsed in (2821.0, 2900.0):
        with pytest.raises(UnsupportedMoment, match="see inputs of ListModels") as refused:
            PLAIN.forecast(query(elapsed, 2))
        assert refused.value.field == "moment"
    with pytest.raises(UnsupportedMoment):
        PLAIN.forecast(query(1381.0, 2, HALF))


def test_at_a_moment_no_total_is_forecast() -> None:
    live, market = LiveInputs(total_points=190), Market(220.5, 1.9, 1.9, kind=MarketKind.TOTAL)
    with pytest.raises(InvalidInput, match="not forecast at a moment"):
        query(2800.0, 2, live=live, markets=(market,))
    assert SHIPPED.forecast(query(2800.0, 2, live=live)).total is None


def test_live_inputs_are_checked_at_the_moment() -> None:
    odd = Moment(4, 30.0, 3)
    ForecastQuery(ScorePattern((2.0,) * 47), FINAL, live=LiveInputs(total_points=201), moment=odd)
    long = Moment(7, 30.0, 2)  # the three overtimes of the game with the most points, 186–184
    ForecastQuery(ScorePattern((2.0,) * 47), FINAL, live=LiveInputs(total_points=370), moment=long)
    with pytest.raises(InvalidInput, match="an odd number"):
        ForecastQuery(ScorePattern((2.0,) * 47), FINAL, live=LiveInputs(total_points=200), moment=odd)
