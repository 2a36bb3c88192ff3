"""Ratings of teams: found from results, advanced by reported finals, and the same in a server as in the trainer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.folds import random_walks
from tests.support.harness.present import present

from dejavu_models.forecaster.active_state import Expectations, RatedGame
from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, LiveRatings, RatedSchedule, have_known_games
from dejavu_models.ratings import (
    CODES,
    LEVEL,
    RatingFilter,
    RatingSettings,
    TeamFilter,
    TotalFilter,
    carried_expectations,
)
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import carried, margin_terms

START, FILTERS = RatingFilter.start(), (RatingFilter, TotalFilter)


FIRST = date(2030, 11, 1)


@pytest.mark.parametrize(
    ("kind", "level", "worth", "noise"),
    [(RatingFilter, 3.0, (-2.0, -1.0, 1.5, 2.5), 12), (TotalFilter, 210.0, (-2.0, -5.0, 3.0), 17)],
)
def test_what_teams_and_terms_are_worth_is_found_from_results(
    kind: type[TeamFilter], level: float, worth: tuple[float, ...], noise: float
) -> None:
    games, rng = 3000, np.random.default_rng(1)
    truth = rng.normal(0, 5, len(CODES))
    home, away = np.array([rng.choice(len(CODES), 2, replace=False) for _ in range(games)]).T
    loads = np.column_stack([np.ones(games), *(rng.integers(-1, 2, games) for _ in worth)])
    mean = truth[home] + kind.away_sign * truth[away] + loads @ np.array([level, *worth])
    final = np.round(mean + rng.normal(0, noise, games))
    days = np.datetime64(FIRST) + np.sort(rng.integers(0, 170, games)).astype("timedelta64[D]")
    codes, season = np.array(CODES), np.full(games, 2031)
    means, variances, state = carried_expectations(
        kind.start(), season, days, codes[home], codes[away], final, loads.tolist()
    )
    assert np.corrcoef(truth, state.mean[:LEVEL])[0, 1] > 0.9
    assert state.mean[LEVEL + 1 :] == pytest.approx(worth, abs=1.2)
    if kind is RatingFilter:  # both teams of a total may have a part of the level
        assert state.mean[LEVEL] == pytest.approx(level, abs=0.8)
    errors = (final - means)[games // 2 :]
    assert (np.square(errors) / variances[games // 2 :]).mean() == pytest.approx(1.0, abs=0.15)
    assert state.newest == days[-1].item()


@pytest.mark.parametrize("kind", FILTERS)
def test_a_new_season_draws_teams_together_and_keeps_the_level(kind: type[TeamFilter]) -> None:
    state = kind.start().predict(2031, FIRST).update("BOS", "BKN", 250).update("BOS", "BKN", 250)
    after = state.predict(2032)
    assert after.mean[:LEVEL] == pytest.approx(state.settings.carry * state.mean[:LEVEL])
    assert (after.mean[LEVEL], after.newest) == (state.mean[LEVEL], state.newest)


def test_no_game_knows_of_another_one_of_its_day() -> None:
    columns = np.full(2, 2031), np.full(2, FIRST, "datetime64[D]"), np.array(["BOS", "BOS"]), np.array(["BKN", "NYK"])
    outcomes = np.array([[40.0, 1.0], [-40.0, 1.0]])
    one, other = (carried_expectations(START, *columns, final, [(1.0,)] * 2)[0] for final in outcomes)
    assert one[1] == other[1]


def paired(variance: float, between: float, noise: float, mean: float = 0.0) -> RatingFilter:
    """Return ratings that know two teams as given, and nothing of the others."""
    pair = [CODES.index("BOS"), CODES.index("DEN")]
    covariance, means = np.zeros_like(START.covariance), np.zeros_like(START.mean)
    means[pair] = mean
    covariance[np.ix_(pair, pair)] = between
    covariance[pair, pair] = variance
    return replace(START, settings=replace(START.settings, noise=noise), mean=means, covariance=covariance)


NOT_FINITE = "its mean must be within"


UNLEARNABLE = {
    "no variance": (paired(1.0, 1 + 2.0**-31, 2.0**-30), 7.0, "of DEN at BOS has the variance 0; expected more than 0"),
    "negative variance": (paired(1.0, 2.0, 1.0), 7.0, "has the variance -1"),
    "variance that is not a number": (paired(np.nan, 0.0, 1.0), 7.0, "has the variance nan"),
    "teams become too strong": (paired(1e6, 0.0, 1.0, mean=999.0), 40.0, NOT_FINITE),
    "outcome that is not a number": (paired(25.0, 0.0, 1.0), np.nan, NOT_FINITE),
}


@pytest.mark.parametrize(("state", "outcome", "said"), UNLEARNABLE.values(), ids=UNLEARNABLE)
def test_ratings_that_cannot_take_in_an_outcome_say_so(state: RatingFilter, outcome: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        state.update("BOS", "DEN", outcome)


SETTINGS = RatingSettings()


LAST = date(2023, 6, 12)


def start() -> LiveRatings:
    """Return ratings of a bundle for the season 2024, with the last game in June 2023."""
    state = RatingFilter.start(SETTINGS).predict(2023, LAST).update("DEN", "MIA", 5.0)
    return LiveRatings.start(state.predict(2024))


def result(home: str = "BOS", away: str = "NYK", *, day: int = 140, **fields: Any) -> GameResult:
    given_: dict[str, Any] = {"season": 2024, "day": LAST + timedelta(days=day), "differential": 4.0, **fields}
    return GameResult(home, away, **given_)


def learned(results: list[GameResult]) -> LiveRatings:
    state = start()
    for each in results:
        state = state.after(each)
    return state


@pytest.mark.parametrize("day", [0, -200])
def test_games_that_the_bundles_ratings_include_move_them_no_more_and_count_as_seen(day: int) -> None:
    before = start()
    after = before.after(result(day=day))
    assert (after.filter, after.finals, after.newest) == (before.filter, before.finals, before.newest)
    assert after.games == {"BOS": 1, "NYK": 1}


def test_a_game_of_a_season_that_is_over_changes_nothing() -> None:
    before = learned([result()])
    assert before.after(result(season=2023, day=30)) is before


def test_a_game_told_of_late_counts_without_turning_the_clock_back() -> None:
    before = learned([result(day=160)])
    after = before.after(result("LAL", "UTA", day=150))
    assert after.newest == before.newest
    assert after.games == {"BOS": 1, "NYK": 1, "LAL": 1, "UTA": 1}
    assert not np.array_equal(after.filter.mean, before.filter.mean)


def test_a_final_at_a_neutral_site_contains_no_information_on_the_home_advantage() -> None:
    before = RatedSchedule.start(start().filter)
    after = before.after(result(differential=31.0, neutral_site=True)).ratings.filter
    assert after.mean[LEVEL] == before.ratings.filter.mean[LEVEL]
    assert after.strengths["BOS"] > before.ratings.filter.strengths["BOS"] + 1


def test_ratings_of_totals_advance_with_the_others_and_wait_for_totals_that_are_not_known() -> None:
    state = RatedSchedule.start(start().filter, TotalFilter.start().predict(2024, LAST))
    known, unknown = (state.after(result(total=total)) for total in (251.0, None))
    assert known.ratings.filter.mean.tolist() == unknown.ratings.filter.mean.tolist()
    assert unknown.totals is state.totals
    assert state.totals is not None
    due = state.totals.filter.predict(2024, result().day).update("BOS", "NYK", 251.0)
    assert present(known.totals).filter.mean.tolist() == due.mean.tolist()
    # A game that the ratings include moves them no more, and counts as one of the season's.
    included = present(state.after(result(total=251.0, day=0)).totals)
    assert (included.filter, included.games) == (state.totals.filter, {"BOS": 1, "NYK": 1})
    assert state.after(result(total=251.0, day=30, season=2023)).totals is state.totals
    assert RatedSchedule.start(start().filter).after(result(total=251.0)).totals is None


def test_teams_are_known_once_both_have_had_enough_games_of_the_season() -> None:
    state = start()
    for game in range(KNOWN_GAMES):
        assert not have_known_games(state.games, "BOS", "NYK")
        state = state.after(result(day=140 + game))
    assert have_known_games(state.games, "BOS", "NYK")
    assert not have_known_games(state.games, "BOS", "LAL")


GAP = LAST + timedelta(days=1258)
"""Three seasons after the last final of `start`."""


def after_gap(home: str, away: str, days: int = 0) -> GameResult:
    return result(home, away, season=2027, day=(GAP - LAST).days + days)


EVENING = [after_gap(home, away) for home, away in zip(CODES[::2], CODES[1::2], strict=True)]


ALL = dict.fromkeys(CODES, LAST)


UNSEEN: dict[str, tuple[list[GameResult], dict[str, date | None]]] = {
    "a first result": ([after_gap("BOS", "NYK")], {**ALL, "BOS": None, "NYK": None}),
    "a second one": (
        [after_gap("BOS", "NYK"), after_gap("WAS", "BOS", 1)],
        {**ALL, "BOS": None, "NYK": None, "WAS": None},
    ),
    "all but one game": (EVENING[:-1], dict.fromkeys([EVENING[-1].home, EVENING[-1].away], LAST)),
    "all teams": (EVENING, {}),
    "thirty days": ([result(), result(day=170)], {}),
    "a day more": ([result(), result(day=171)], {**dict.fromkeys(CODES, result().day), "BOS": None, "NYK": None}),
    "a second gap": (
        [after_gap("BOS", "NYK"), after_gap("WAS", "OKC", 60)],
        {**ALL, "BOS": GAP, "NYK": GAP, "WAS": None, "OKC": None},
    ),
    "a final of within the gap told late": (
        [result(), result(day=240), result("WAS", "OKC", day=180), result("OKC", "LAL", day=239)],
        {**dict.fromkeys(CODES, result().day), "BOS": None, "NYK": None, "WAS": result(day=180).day}
        | {"OKC": None, "LAL": None},
    ),
}


@pytest.mark.parametrize(("results", "due"), UNSEEN.values(), ids=UNSEEN)
def test_after_a_gap_only_teams_with_a_result_since_are_known(
    results: list[GameResult], due: dict[str, date | None]
) -> None:
    assert learned(results).unseen == {code: day for code, day in due.items() if day is not None}


TUNED = RatingSettings(daily=0.04, carry=0.63, seasonal=6.9, home_daily=0.001)


TOLERANCE = 1e-9
"""In points."""


Evening = list[GameResult]
"""The games of a day, in the order of the data; their finals are reported in the reverse order."""


def seasons_of(seed: int, first: int, number: int, days: int) -> list[Evening]:
    """Simulate seasons: some days of each, at random in it and the day after, with up to seven games a day."""
    rng, evenings = np.random.default_rng(seed), list[Evening]()
    for season in range(first, first + number):
        opening = date(season - 1, 10, 16) + timedelta(int(rng.integers(0, 12)))
        drawn = rng.choice(240, days, replace=False).tolist()
        for offset in sorted({*drawn, *(each + 1 for each in drawn[::2])}):
            teams = rng.permutation(CODES)[: 2 * int(rng.integers(1, 8))].tolist()
            evenings.append(
                [
                    GameResult(
                        *pair, season, opening + timedelta(offset), float(round(rng.normal(2.5, 14))), offset > 180
                    )
                    for pair in zip(teams[::2], teams[1::2], strict=True)
                ]
            )
    return evenings


def as_games(results: list[GameResult]) -> Games:
    """Return the games of a trainer with these results."""
    home, away, season, day, final, playoffs = list(zip(*results, strict=True))[:6]
    return replace(
        random_walks(len(results), range(2031, 2032)),
        season=np.array(season),
        date=np.array(day, "datetime64[D]"),
        phase=np.where(playoffs, "PO", "RS"),
        home=np.array(home),
        away=np.array(away),
        final=np.array(final),
    )


def evaluated(start: RatingFilter, evenings: list[Evening], earlier: list[Evening]) -> tuple[list[float], RatingFilter]:
    """Return the margins that the trainer expects of each game, in points, and its state at the end.

    Args:
        start: its state before the games.
        evenings: the games.
        earlier: games before them that only their schedule follows.
    """
    games = as_games([*chain(*earlier, *evenings)])
    own = games.select(np.arange(len(games)) >= sum(map(len, earlier)))
    means, _, after = carried(start, own, own.final.astype(float), margin_terms(games)[-len(own) :])
    return means.tolist(), after


def served(bundled: RatingFilter, evenings: list[Evening], earlier: list[Evening]) -> tuple[list[float], RatingFilter]:
    """Return the margins that a server expects if the finals of a day are reported before the next day.

    Args:
        bundled: the ratings of its bundle.
        evenings: the games.
        earlier: games before them whose finals are in its ledger, although the bundle knows them.
    """
    live, margins = RatedSchedule.start(bundled), list[float]()
    for game in chain(*earlier):
        live = live.after(game)
    assert live.ratings.filter is bundled
    for evening in evenings:
        expected = Expectations(live)
        margins += [
            expected.margin_terms(RatedGame(game.home, game.away, game.day, game.is_playoffs)).margin
            for game in evening
        ]
        for game in reversed(evening):
            live = live.after(game)
    return margins, live.ratings.filter


@given(
    seed=st.integers(0, 10**6),
    days=st.integers(2, 12),
    share=st.floats(0.05, 0.5),
    is_over=st.booleans(),
    missing=st.integers(0, 1),
    followed=st.booleans(),
)
# published in summer, like the shipped bundle
@example(seed=1, days=12, share=0.25, is_over=True, missing=0, followed=False)
# refreshed during a season that the ledger has from its start
@example(seed=1, days=12, share=0.375, is_over=False, missing=0, followed=True)
# a season without a reported final
@example(seed=1, days=12, share=0.5, is_over=True, missing=1, followed=False)
# a season that is over, without a report of its end
@example(seed=1, days=12, share=0.5, is_over=False, missing=0, followed=True)
def test_a_server_expects_what_the_trainer_evaluates(
    seed: int, days: int, share: float, is_over: bool, missing: int, followed: bool
) -> None:
    evenings = seasons_of(seed, 2031, 4, days)
    before, later = evenings[: max(1, int(share * len(evenings)))], evenings[max(1, int(share * len(evenings))) :]
    _, state = evaluated(RatingFilter.start(TUNED), before, [])
    bundled, season = state, before[-1][0].season
    if is_over:
        bundled = state.predict(season + 1)
        later = [evening for evening in later if evening[0].season > season + missing]
    earlier = before if followed else []
    due, after = evaluated(state, later, earlier)
    found, final = served(bundled, later, earlier)
    assert found == pytest.approx(due, abs=TOLERANCE)
    assert np.abs(final.mean - after.mean).max() < TOLERANCE
    assert np.abs(final.covariance - after.covariance).max() < TOLERANCE
    assert (final.season, final.date) == (after.season, after.date)
