"""The expected total before tip-off: both teams add to it, whoever is at home."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.live_ratings import GameResult, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import GameSchedule, ScheduleHistory, TotalTerms, total_terms
from dejavu_models.team_filter import CODES, LEVEL, RatingSettings, TotalFilter, carried_expectations

START = TotalFilter.start()
TEAM = st.sampled_from(CODES)
WORTH = np.array([-2.0, -5.0, 3.0])
"""Coefficient of each of TotalTerms in the games of these tests, in points."""


Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def season_of_totals(games: int, seed: int) -> tuple[dict[str, float], Columns, list[TotalTerms]]:
    """Return the points that each team adds, the columns of `carried_expectations`, and the terms of the games."""
    rng = np.random.default_rng(seed)
    added = dict(zip(CODES, rng.normal(0, 5, len(CODES)).tolist(), strict=True))
    pairs = np.array([rng.choice(len(CODES), 2, replace=False) for _ in range(games)])
    home, away = (np.array(CODES)[pairs[:, side]] for side in (0, 1))
    days = np.datetime64("2030-10-20") + np.sort(rng.integers(0, 170, games)).astype("timedelta64[D]")
    loads = np.stack([np.ones(games), *(rng.integers(0, most, games) for most in (3, 2, 2))], axis=1)
    mean = np.array([added[one] + added[other] for one, other in zip(home, away, strict=True)]) + loads @ np.append(
        210, WORTH
    )
    final = np.round(mean + rng.normal(0, 17, games))
    return added, (np.full(games, 2031), days, home, away, final), [TotalTerms(*row) for row in loads.tolist()]


def test_what_teams_add_and_terms_are_worth_is_found_from_results() -> None:
    added, columns, terms = season_of_totals(3000, 1)
    means, variances, state = carried_expectations(START, *columns, terms)
    found = state.mean[:LEVEL]
    assert np.corrcoef([added[code] for code in CODES], found)[0, 1] > 0.9
    # Prior coefficients are N(0, 1), so the estimates are shrunk somewhat.
    assert np.sign(state.mean[LEVEL + 1 :]).tolist() == np.sign(WORTH).tolist()
    errors, late = columns[-1] - means, slice(1500, None)
    assert np.square(errors)[late].mean() < 0.95 * columns[-1][late].var()
    assert (np.square(errors) / variances)[late].mean() == pytest.approx(1.0, abs=0.15)


@given(home=TEAM, away=TEAM, games=st.lists(st.tuples(TEAM, TEAM, st.integers(140, 300)), max_size=12))
def test_a_total_is_the_same_whoever_is_at_home(home: str, away: str, games: list[tuple[str, str, int]]) -> None:
    state = START.predict(2031, np.datetime64("2030-11-01"))
    for one, other, total in games:
        if one != other:
            before = state.expected(one, other)
            state = state.update(one, other, total)
            after = state.expected(one, other)
            assert after[1] < before[1]
            # The expectation moves towards the result.
            assert abs(after[0] - total) <= abs(before[0] - total)
    if home != away:
        assert state.expected(home, away) == pytest.approx(state.expected(away, home), abs=1e-9)


def test_a_new_season_draws_teams_towards_each_other_and_keeps_the_level() -> None:
    state = START.predict(2031, np.datetime64("2030-11-01"))
    for _ in range(20):
        state = state.update("BOS", "BKN", 250)
    after = state.predict(2032)
    assert after.mean[:LEVEL] == pytest.approx(state.settings.carry * state.mean[:LEVEL])
    assert after.mean[LEVEL] == state.mean[LEVEL]


def test_the_terms_of_a_total_count_tired_teams_and_know_the_altitude() -> None:
    history = ScheduleHistory()
    history = history.after(date(2031, 1, 1), "BOS", "DEN").after(date(2031, 1, 1), "LAL", "MIA")
    both = history.before(date(2031, 1, 2), "DEN", "LAL")
    one = history.before(date(2031, 1, 2), "NYK", "LAL")
    assert total_terms(both, "DEN", is_playoffs=False) == TotalTerms(back_to_backs=2.0, altitude=1.0)
    assert total_terms(one, "NYK", is_playoffs=True) == TotalTerms(back_to_backs=1.0, playoffs=1.0)
    assert total_terms(GameSchedule(), "UTA", is_playoffs=False) == TotalTerms(altitude=1.0)


def test_live_ratings_of_totals_advance_with_the_others_and_wait_for_totals_that_are_not_known() -> None:
    margins = RatingFilter.start(RatingSettings()).predict(2031, np.datetime64("2030-11-01")).update("BOS", "BKN", 4.0)
    state = RatedSchedule.start(margins, START.predict(2031, np.datetime64("2030-11-01")))
    won = GameResult("BOS", "NYK", 2031, date(2030, 11, 2), 7.0, total=251.0)
    known, unknown = state.after(won), state.after(won._replace(total=None))
    assert known.ratings.filter.mean.tolist() == unknown.ratings.filter.mean.tolist()
    assert unknown.totals is state.totals
    assert state.totals is not None
    assert known.totals is not None
    expected = state.totals.filter.predict(2031, np.datetime64("2030-11-02")).update("BOS", "NYK", 251.0, TotalTerms())
    assert known.totals.filter.mean.tolist() == expected.mean.tolist()
    assert known.totals.games == {"BOS": 1, "NYK": 1}
    # A game that the ratings include moves them no more, and counts as one of the season's.
    included = state.after(won._replace(day=date(2030, 11, 1)))
    assert included.totals is not None
    assert (included.totals.filter, included.totals.games) == (state.totals.filter, {"BOS": 1, "NYK": 1})
    assert included.ratings.filter is state.ratings.filter
    assert (included.ratings.games, included.ratings.finals) == ({"BOS": 1, "NYK": 1}, 0)
    assert state.after(won._replace(day=date(2030, 4, 1), season=2030)) == replace(
        state, schedule=state.schedule.after(date(2030, 4, 1), "BOS", "NYK")
    )
    assert RatedSchedule.start(margins).after(won).totals is None
