"""Settled forecasts in memory: at any time, a selection from them equals that of the ledger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book, with_market, with_total

from dejavu_common.clock import game_day
from dejavu_ledger.queries import scorecards, settled_cache
from dejavu_ledger.queries.scorecards import ScoreFilter, SettledByModel
from dejavu_ledger.queries.settled_cache import SettledCache
from dejavu_models.scorecard.cards import scorecard
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts
from dejavu_models.types import Horizon

TODAY = game_day(EVENING).toordinal()
TEAMS = ("BKN", "BOS", "GSW", "NYK")
GAMES = [*(f"00225{number:05d}" for number in range(20)), "9900000007"]

FILTERS = st.builds(
    ScoreFilter,
    horizon=st.sampled_from(Horizon),
    game_id=st.sampled_from(["", "", GAMES[0]]),
    first_day=st.sampled_from([None, TODAY, TODAY + 1]),
    last_day=st.sampled_from([None, TODAY, TODAY + 1]),
    team=st.sampled_from(["", *TEAMS, "LAL"]),
    min_confidence=st.sampled_from([None, 0.5, 0.7]),
    model_version=st.sampled_from(["", "v1", "v2", "v3"]),
    replays=st.booleans(),
    recorded_by=st.sampled_from(["", "", "token:poller", "token:nobody"]),
    min_minutes=st.sampled_from([None, 10, 20]),
    max_minutes=st.sampled_from([None, 10, 20]),
)


def play(book: RecordBook, rng: random.Random, *games: str) -> None:
    """Record forecasts of games: with teams, models, markets, revisions, and late ones."""
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
                )
                made = replace(made, recorded_by=rng.choice(("", "token:poller", "token:clerk")))
                if rng.random() < 0.5:
                    made = with_total(made, points=int(abs(made.pattern.last)) + 4 * minute)
                book.predict(with_market(made, stake=0.05) if rng.random() < 0.3 else made)
                if rng.random() < 0.2:
                    book.predict(forecast(game, minute=minute, horizon=horizon, lead=20.0, generated_time=when))


def settle(book: RecordBook, rng: random.Random, *games: str) -> None:
    for game in games:
        for horizon in Horizon:
            differential = rng.choice((-3, 1, 4))
            points = rng.choice((None, horizon.minutes * 5 - abs(differential)))
            book.report(game, horizon, differential, teams=("", ""), total_points=points)


@pytest.fixture(scope="module")
def book() -> Iterator[RecordBook]:
    """Twenty games and a replay of some models and teams, all but two settled."""
    rng = random.Random(5)
    with new_book() as made:
        play(made, rng, *GAMES)
        settle(made, rng, *GAMES[2:])
        yield made


def cards(settled: SettledByModel) -> dict[str, Any]:
    """Return the scorecards of the model versions that have settled forecasts."""
    return {
        version: scorecard(settled.forecasts.where(settled.model == index))
        for index, version in enumerate(settled.models)
        if (settled.model == index).any()
    }


def assert_same(one: SettledByModel, other: SettledByModel) -> None:
    for each in fields(SettledForecasts):
        np.testing.assert_array_equal(getattr(one.forecasts, each.name), getattr(other.forecasts, each.name))
    assert cards(one) == cards(other)


def compare(book: RecordBook, cache: SettledCache, filter_: ScoreFilter, *, renew: bool = True) -> int:
    """Compare a selection by the cache with that of the ledger; return the number of forecasts."""
    expected = book.read(lambda connection: scorecards.settled(connection, filter_))
    assert_same(book.read(lambda connection: cache.settled(connection, filter_, renew=renew)), expected)
    return len(expected.forecasts)


@pytest.fixture(scope="module")
def cache() -> SettledCache:
    return SettledCache()


@given(filter_=FILTERS, renew=st.booleans())
def test_what_is_selected_in_memory_is_what_the_ledger_has(
    book: RecordBook, cache: SettledCache, filter_: ScoreFilter, renew: bool
) -> None:
    compare(book, cache, filter_, renew=renew)


@pytest.mark.parametrize(("first", "second"), [tuple(Horizon), tuple(Horizon)[::-1]])
def test_the_report_of_one_horizon_makes_forecasts_of_the_other_late_in_memory_too(
    first: Horizon, second: Horizon
) -> None:
    rng, cache = random.Random(11), SettledCache()
    with new_book() as book:
        book.report(GAMES[2], second, 3)  # and withdrawn before its first forecast
        book.withdraw(GAMES[2], second)
        play(book, rng, *GAMES[:6])
        for game in GAMES[:4]:
            book.report(game, first, 3, teams=("", ""))
        everything = ScoreFilter(horizon=first, replays=True)
        assert compare(book, cache, everything)
        for game in GAMES[1:3]:
            book.report(game, second, 3, teams=("", ""), seen=EVENING - timedelta(hours=1))
        book.report(GAMES[4], first, 3, teams=("", ""))
        compare(book, cache, everything)
        found = book.read(lambda connection: cache.settled(connection, everything, renew=True)).forecasts
        assert len({*found.game[found.exclusion == Exclusion.OBSERVED]}) == 2


def test_memory_follows_the_ledger_through_new_games_reports_corrections_and_withdrawals() -> None:
    rng, cache = random.Random(7), SettledCache()
    with new_book() as book:
        play(book, rng, *GAMES[:8])
        for step in (
            partial(settle, book, rng, *GAMES[:3]),
            partial(play, book, rng, *GAMES[8:10]),
            partial(settle, book, rng, *GAMES[3:5]),
            partial(book.report, GAMES[5], Horizon.HALFTIME, 3, teams=("", "")),
            partial(book.report, GAMES[0], Horizon.FINAL, 9, teams=("", "")),
            partial(settle, book, rng, *GAMES[6:10]),
            partial(book.withdraw, GAMES[1], Horizon.FINAL),
        ):
            step()
            for horizon in Horizon:
                for renew in (False, True):
                    compare(book, cache, ScoreFilter(horizon=horizon, replays=True), renew=renew)


def test_a_ledger_that_is_too_large_is_read_each_time(book: RecordBook, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SettledCache()
    monkeypatch.setattr(settled_cache, "MAX_FORECASTS", 10)
    assert compare(book, cache, ScoreFilter(horizon=Horizon.FINAL))
