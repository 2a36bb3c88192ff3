"""Settled forecasts of a scorecard, and unsettled games: selected from the scores of games, in memory or not.

Their figures are those that examples/python/check_ledger has from the entries: tests/examples/test_check_ledger.py.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.record_book import (
    EVENING,
    RecordBook,
    forecast,
    new_book,
    with_market,
    with_total,
    with_total_market,
)

from dejavu_common.clock import day_bounds, game_day
from dejavu_ledger.database import sql
from dejavu_ledger.queries import pages, scorecards
from dejavu_ledger.queries.scorecards import KnownScores, ScoreFilter, SettledByModel
from dejavu_ledger.records import LateReason, RecordedForecast
from dejavu_models.results import Failed
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts
from dejavu_models.types import Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
TODAY = game_day(EVENING).toordinal()
TEAMS = ("BKN", "BOS", "GSW", "NYK")
GAMES = [f"00225{number:05d}" for number in range(20)]
REPLAY = "9900000007"
ALL = [*GAMES, REPLAY]


def play(book: RecordBook, rng: random.Random, *games: str) -> None:
    """Record forecasts of games: with teams, models, markets, totals, revisions, and late ones."""
    for game in games:
        home, away = rng.sample(TEAMS, 2)
        when = EVENING + timedelta(days=rng.randrange(3))
        for minute in (6, 18, 23, 30, 9):  # the last one is late
            for horizon in Horizon:
                if minute > horizon.last_slot:
                    continue
                made = forecast(
                    game,
                    minute=minute,
                    horizon=horizon,
                    lead=float(rng.randrange(-9, 9)),
                    point=rng.gauss(0.0, 5.0),
                    probability=rng.random(),
                    model_version=rng.choice(("v1", "v2")),
                    home_team=home,
                    away_team=away,
                    generated_time=when,
                    distribution=rng.random() < 0.9,
                )
                made = replace(made, recorded_by=rng.choice(("", "token:poller", "token:clerk")))
                if rng.random() < 0.5:
                    made = with_total(made, points=int(abs(made.pattern.last)) + 4 * minute)
                made = with_market(made, stake=0.05) if rng.random() < 0.3 else made
                if made.forecast.total is not None and rng.random() < 0.5:
                    made = with_total_market(made, over=100.5)
                book.predict(made)
                if rng.random() < 0.2:  # a revision, unless the caller or the model is another one
                    book.predict(forecast(game, minute=minute, horizon=horizon, lead=20.0, generated_time=when))


def settle(book: RecordBook, rng: random.Random, *games: str) -> None:
    for game in games:
        for horizon in Horizon:
            differential = rng.choice((-3, 1, 4))
            points = rng.choice((None, horizon.minutes * 5 - abs(differential)))
            book.report(game, horizon, differential, teams=("", ""), total_points=points)


@pytest.fixture(scope="module")
def book() -> Iterator[RecordBook]:
    """Twenty games and a replay, all but two settled."""
    rng = random.Random(5)
    with new_book() as made:
        play(made, rng, *ALL)
        settle(made, rng, *ALL[:1:-1])
        yield made


@pytest.fixture(scope="module")
def known() -> KnownScores:
    return KnownScores()


LATE = {LateReason.LATER_SECOND: Exclusion.LATER_SECOND, LateReason.TIME: Exclusion.LATE_TIME}


def excluded(each: RecordedForecast) -> Exclusion:
    return LATE[each.issued.late] if each.issued.late else Exclusion(each.superseded * Exclusion.SUPERSEDED)


def assert_same(one: SettledByModel, other: SettledByModel) -> None:
    for each in fields(SettledForecasts):
        columns = [getattr(of.forecasts, each.name) for of in (one, other)]
        if each.name == "markets":
            assert repr(columns[0].tolist()) == repr(columns[1].tolist())  # with NaN
        elif each.name == "caller":  # its integers only tell callers apart
            assert len({*zip(*columns, strict=True)}) == len({*columns[0]}) == len({*columns[1]})
        else:
            np.testing.assert_array_equal(*columns)
    assert [one.models[at] for at in one.model] == [other.models[at] for at in other.model]


@given(
    common=st.fixed_dictionaries(
        {"horizon": st.sampled_from(Horizon)},
        optional={
            "game_id": st.sampled_from([GAMES[0], GAMES[2], REPLAY]),
            "first_day": st.sampled_from([TODAY, TODAY + 1]),
            "last_day": st.sampled_from([TODAY, TODAY + 1]),
            "team": st.sampled_from([*TEAMS, "LAL"]),
            "min_confidence": st.floats(0.5, 1.0),
            "model_version": st.sampled_from(["v1", "v2", "v3"]),
            "replays": st.booleans(),
        },
    ),
    own=st.fixed_dictionaries(
        {},
        optional={
            "min_minutes": st.sampled_from([10, 20]),
            "max_minutes": st.sampled_from([10, 20]),
            "recorded_by": st.sampled_from(["token:poller", "token:nobody"]),
        },
    ),
)
def test_a_filtered_scorecard_is_that_of_the_forecasts_listed_with_the_same_filter(
    book: RecordBook, known: KnownScores, common: dict[str, Any], own: dict[str, Any]
) -> None:
    wanted = pages.ForecastFilter(**common, settled=True, superseded=True)
    everything = book.read(lambda connection: pages.page(connection, wanted, "", 500))
    assert not everything.next_token
    listed = [
        each
        for each in everything.forecasts
        if own.get("min_minutes", 0) <= each.issued.forecast.elapsed_minutes <= own.get("max_minutes", 47)
        and own.get("recorded_by", each.issued.recorded_by) == each.issued.recorded_by
    ]
    owned = book.read(lambda connection: {*sql.rows(connection, "SELECT sequence FROM forecasts WHERE owned")})
    filter_ = ScoreFilter(**common, **own)
    found = book.read(lambda connection: scorecards.settled(connection, filter_))
    assert_same(book.read(lambda connection: known.settled(connection, filter_)), found)
    of = found.forecasts
    versions = [found.models[place] for place in found.model]
    rows = zip(versions, of.minute, of.exclusion, of.error, of.probability, strict=True)
    assert sorted(rows) == sorted(
        (
            each.issued.forecast.model_version,
            each.issued.forecast.elapsed_minutes,
            excluded(each) if own.get("recorded_by") or (each.issued.sequence,) in owned else Exclusion.OTHERS,
            each.settlement.error if each.settlement else None,
            each.issued.forecast.home_lead_probability,
        )
        for each in listed
    )


def test_memory_follows_the_ledger_through_new_games_reports_corrections_and_withdrawals() -> None:
    rng, known = random.Random(7), KnownScores()
    early = EVENING - timedelta(hours=1)
    with new_book() as book:
        book.report(GAMES[2], FINAL, 3)
        book.withdraw(GAMES[2], FINAL)  # before its first forecast
        play(book, rng, *GAMES[:8])
        for step in (
            lambda: None,
            partial(settle, book, rng, *GAMES[:2]),
            partial(book.report, GAMES[2], HALF, 3, teams=("", "")),
            partial(book.report, GAMES[2], FINAL, 3, teams=("", ""), seen=early),  # so those of the half were late
            partial(play, book, rng, *GAMES[8:10]),
            partial(settle, book, rng, *GAMES[3:5]),
            partial(book.report, GAMES[5], HALF, 3, teams=("", "")),
            partial(book.report, GAMES[0], FINAL, 9, teams=("", "")),
            partial(settle, book, rng, *GAMES[6:10]),
            partial(book.withdraw, GAMES[1], FINAL),
        ):
            step()
            for horizon in Horizon:
                fresh = book.read(partial(scorecards.settled, filter_=ScoreFilter(horizon=horizon)))
                assert_same(book.read(partial(known.settled, filter_=ScoreFilter(horizon=horizon))), fresh)
        half = book.read(partial(known.settled, filter_=ScoreFilter(horizon=HALF))).forecasts
        assert Counter(half.exclusion.tolist())[Exclusion.OBSERVED] > 0


def test_the_position_of_scorecards_moves_with_every_report_and_with_nothing_else() -> None:
    with new_book() as made:
        positions = [made.read(scorecards.position)]

        def moved() -> bool:
            positions.append(made.read(scorecards.position))
            return positions[-1] != positions[-2]

        made.predict(with_market(forecast(GAMES[0]), stake=0.05))
        assert not moved()
        for differential, moves in ((3, True), (3, False), (4, True)):
            made.report(GAMES[0], HALF, differential)
            assert moved() == moves
        [refused] = made.predict(forecast(GAMES[0], lead=9.0))
        assert isinstance(refused, Failed)
        assert not moved()


OVER = day_bounds(EVENING)[1]
NEXT_DAY = timedelta(days=1)


def test_a_game_is_unsettled_until_its_outcome_is_reported_at_the_horizon() -> None:
    first, second, third, late = GAMES[:4]
    with new_book() as book:
        book.report(third, FINAL, 3)
        book.withdraw(third, FINAL)  # otherwise it would appear nowhere if its forecasts are bad
        for game in (first, second, third):
            book.predict(*(forecast(game, horizon=horizon) for horizon in Horizon))
        book.predict(forecast(late, minute=40, horizon=FINAL, generated_time=OVER))  # of another evening

        def unsettled(horizon: Horizon, **more: timedelta) -> list[str]:
            wanted = ScoreFilter(horizon=horizon)
            before = OVER + more.get("later", timedelta(0))
            return sorted(
                game for game, _ in book.read(partial(KnownScores().unsettled, filter_=wanted, before=before))
            )

        assert unsettled(FINAL) == unsettled(HALF) == [first, second, third]
        assert unsettled(FINAL, later=NEXT_DAY) == [first, second, third, late]
        book.report(first, HALF, 3)
        book.report(second, FINAL, -20)
        assert (unsettled(HALF), unsettled(FINAL)) == ([second, third], [first, third])
        book.withdraw(second, FINAL)
        assert unsettled(FINAL) == [first, third], "a game that was withdrawn shows as that"
        book.report(first, FINAL, 3, seen=EVENING - NEXT_DAY)
        book.report(third, FINAL, 3, seen=EVENING - NEXT_DAY)
        assert unsettled(HALF) == [second, third], "an end that was observed too early hides no half"
