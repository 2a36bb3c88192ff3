"""The latest forecast of a game, with its revisions, outcome and scores; pages of what is newest of recent games."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from statistics import NormalDist
from typing import Any

import pytest
from tests.support.builders.record_book import (
    EVENING,
    FINAL,
    GAME,
    HALF,
    RecordBook,
    forecast,
    said,
    told,
    with_market,
)

from dejavu_common.clock import microseconds
from dejavu_ledger.database import store
from dejavu_ledger.queries import predictions
from dejavu_ledger.queries.predictions import RecordedGame, UnknownGame
from dejavu_ledger.records import IssuedForecast, MarketResult, Settlement
from dejavu_models.types import Horizon


def latest(
    book: RecordBook, game: str = GAME, horizon: Horizon = HALF, minute: int | None = None, model: str = ""
) -> RecordedGame:
    return book.read(lambda connection: predictions.latest_forecast(connection, game, horizon, minute, model))


def recorded(book: RecordBook, made: IssuedForecast) -> IssuedForecast:
    [stands] = book.predict(made)
    assert isinstance(stands, IssuedForecast)
    return stands


def test_the_latest_forecast_is_of_the_greatest_minute_and_of_those_the_last_recorded(book: RecordBook) -> None:
    first = recorded(book, forecast(GAME, minute=20))
    last = recorded(book, forecast(GAME, minute=20, model_version="v2"))
    recorded(book, forecast(GAME, minute=19))
    recorded(book, forecast(GAME, minute=40, horizon=FINAL))
    recorded(book, forecast("0022500002", minute=23))
    game = latest(book)
    assert game.latest.issued == last
    assert not game.latest.superseded
    assert ([each.issued for each in game.revisions], game.outcomes) == ([first], ())
    assert (game.latest.outcome, game.latest.settlement, game.latest.markets) == (None, None, ())


def test_minute_and_model_choose_among_the_forecasts_of_a_game(book: RecordBook) -> None:
    made = {
        (minute, model): recorded(book, forecast(GAME, minute=minute, model_version=model))
        for minute, model in ((18, "v1"), (19, "v2"), (20, "v1"), (21, "v2"))
    }
    assert latest(book, minute=18).latest.issued == made[18, "v1"]
    assert latest(book, model="v1").latest.issued == made[20, "v1"]
    assert latest(book, minute=19, model="v2").latest.issued == made[19, "v2"]


def test_a_settled_forecast_comes_with_its_newest_outcome_and_every_revision_of_it(book: RecordBook) -> None:
    recorded(book, forecast(GAME, lead=1.0))
    recorded(book, forecast(GAME, lead=3.0))
    outcomes = [book.report(GAME, HALF, differential) for differential in (9, 12)]
    game = latest(book)
    assert game.outcomes == tuple(outcomes)
    for each in (*game.revisions, game.latest):
        assert each.outcome == outcomes[1]
        assert each.settlement is not None
        assert each.settlement.outcome_sequence == outcomes[1].sequence


def test_the_first_market_of_a_forecast_is_told_with_its_answer(book: RecordBook) -> None:
    made = with_market(forecast(GAME), line=2.5)
    recorded(book, made)
    recorded(book, with_market(forecast(GAME), line=7.5))
    [market] = latest(book).latest.markets
    assert (market.market, market.answer) == (made.markets[0].market, made.forecast.market)


@pytest.mark.parametrize(
    ("asked", "field", "found", "expected"),
    [
        ({"game": "0022500009"}, "game_id", "0022500009", "a game with a recorded forecast"),
        ({"minute": 17}, "elapsed_minutes", "17", "1, 2, 3, 4, 5 or 3 more"),
        ({"minute": 17, "model": "v9"}, "model_version", "v9", "v1, v2"),
    ],
)
def test_what_is_not_recorded_is_refused_by_the_field_that_nothing_matches(
    book: RecordBook, asked: dict[str, Any], field: str, found: str, expected: str
) -> None:
    made = *(forecast(GAME, minute=each) for each in range(1, 9)), forecast(GAME, minute=1, model_version="v2")
    book.predict(*made)
    with pytest.raises(UnknownGame, match=found) as caught:
        latest(book, **asked)
    assert (caught.value.field, caught.value.expected, caught.value.reason) == (field, expected, "UNKNOWN_GAME")


GAMES = [f"00223{number:05d}" for number in range(9)]
OLD, RECENT = EVENING - timedelta(hours=13), EVENING
SINCE = microseconds(EVENING - timedelta(hours=12))


def add(book: RecordBook, rng: random.Random, count: int) -> None:
    """Record forecasts of random games and minutes: some are late, and some too old."""
    for _ in range(count):
        time = rng.choice((OLD, RECENT, RECENT, RECENT)) + timedelta(minutes=rng.random())
        game, horizon, minute = rng.choice(GAMES), rng.choice(list(Horizon)), rng.randrange(1, 24)
        lead = float(rng.randrange(50))
        book.predict(forecast(game, minute=minute, lead=lead, horizon=horizon, generated_time=time))


def newest_of_each(book: RecordBook, games: frozenset[str], up_to: int) -> list[int]:
    """Return the sequences that are current, from all entries."""
    newest: dict[tuple[str, Horizon], int] = {}
    for each in book.read(lambda connection: store.read_after(connection, 0, 10_000)):
        if (
            isinstance(each, IssuedForecast)
            and each.late is None
            and each.sequence <= up_to
            and microseconds(each.generated_time) >= SINCE
            and (not games or each.game_id in games)
        ):
            newest[each.game_id, each.forecast.horizon] = each.sequence
    return sorted(newest.values())


@pytest.mark.parametrize("games", [frozenset[str](), frozenset(GAMES[:3])], ids=["all games", "some games"])
@pytest.mark.parametrize("seed", range(3))
def test_current_forecasts_are_those_as_of_a_sequence_whatever_is_recorded_later(
    book: RecordBook, seed: int, games: frozenset[str]
) -> None:
    rng = random.Random(seed)
    add(book, rng, 60)
    up_to = book.read(store.newest).sequence - 5
    current = partial(predictions.current_sequences, game_ids=games, since_us=SINCE, up_to=up_to)
    expected = newest_of_each(book, games, up_to)
    assert len(expected) >= len(games or GAMES)
    for _ in range(3):
        assert book.read(current) == expected
        add(book, rng, 2)
    read = book.read(partial(predictions.issued_at, sequences=expected))
    assert [each.sequence for each in read] == expected
    assert all(each.hash for each in read)


def test_a_ledger_without_a_recent_forecast_has_no_current_one(book: RecordBook) -> None:
    for up_to in (0, 1):
        assert book.read(partial(predictions.current_sequences, game_ids=(), since_us=SINCE, up_to=up_to)) == []
        book.predict(forecast(GAMES[0], generated_time=OLD))


def test_what_others_record_of_a_game_is_neither_current_nor_latest(book: RecordBook) -> None:
    owned, _ = told(book, said(20, by="a"), said(21, by="b"))
    current = book.read(partial(predictions.current_sequences, game_ids=(), since_us=0, up_to=1000))
    assert (
        book.read(partial(predictions.issued_at, sequences=current))
        == [owned]
        == [latest(book, horizon=FINAL).latest.issued]
    )


def settlement(book: RecordBook, made: IssuedForecast, differential: int) -> Settlement:
    """Record a forecast and its outcome; return its scores."""
    book.predict(made)
    book.report(GAME, HALF, differential)
    found = latest(book).latest.settlement
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("static", "score"), [((), NormalDist().inv_cdf(0.21)), (tuple(n / 10 for n in range(50)), 1.0)]
)
def test_the_score_of_an_outcome_is_that_of_the_level_whose_quantile_it_is(
    book: RecordBook, static: tuple[float, ...], score: float
) -> None:
    made, quantiles = forecast(GAME), tuple(float(place) for place in range(50))
    said_so = replace(made.forecast, distribution=quantiles, static_scores=static)
    assert settlement(book, replace(made, forecast=said_so), 10).score == pytest.approx(score)


@pytest.mark.parametrize(
    ("came", "line", "stake", "profit", "result"),
    [
        (-2, -2.5, 0.1, pytest.approx(0.1 * 0.9), MarketResult.WON),
        (-3, -2.5, 0.1, pytest.approx(-0.1), MarketResult.LOST),
        (-3, -3.0, 0.1, 0.0, MarketResult.PUSH),
        (-2, -2.5, 0.0, None, None),
    ],
)
def test_a_stake_wins_at_its_odds_or_is_lost(
    book: RecordBook, came: int, line: float, stake: float, profit: float | None, result: MarketResult | None
) -> None:
    found = settlement(book, with_market(forecast(GAME), line=line, odds=1.9, stake=stake), came)
    assert (found.market_profit, found.market_result) == (profit, result)
