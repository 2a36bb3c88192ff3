"""The latest forecast of a game, with its earlier revisions and the outcome."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.support.builders.record_book import RecordBook, forecast, new_book, with_market
from tests.support.harness.ledger_faults import damaged_pages

from dejavu_ledger import LedgerCorrupt
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.queries import predictions
from dejavu_ledger.queries.predictions import RecordedGame, UnknownGame
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon

GAME = "0022500001"
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


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


def test_of_very_many_revisions_the_newest_are_told_oldest_first_and_as_superseded(book: RecordBook) -> None:
    many = predictions.MAX_REVISIONS + 5
    book.predict(*(forecast(GAME, lead=float(lead % 7), minute=3) for lead in range(many)))
    game = latest(book)
    assert game.latest.issued.revision == many - 1
    assert [each.issued.revision for each in game.revisions] == list(range(4, many - 1))
    assert all(each.superseded for each in game.revisions)


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
    ("game", "horizon", "minute", "model", "field", "found", "expected"),
    [
        ("0022500009", HALF, None, "", "game_id", "0022500009", "a game with a recorded forecast"),
        (GAME, FINAL, None, "", "horizon", "HORIZON_FINAL", "HORIZON_HALFTIME"),
        (GAME, HALF, 17, "", "elapsed_minutes", "17", "1, 2, 3, 4, 5 or 3 more"),
        (GAME, HALF, 8, "v2", "elapsed_minutes", "8", "1"),
        (GAME, HALF, 17, "v9", "model_version", "v9", "v1, v2"),
    ],
)
def test_what_is_not_recorded_is_refused_by_the_field_that_nothing_matches(
    book: RecordBook,
    game: str,
    horizon: Horizon,
    minute: int | None,
    model: str,
    field: str,
    found: str,
    expected: str,
) -> None:
    made = *(forecast(GAME, minute=each) for each in range(1, 9)), forecast(GAME, minute=1, model_version="v2")
    book.predict(*made)
    with pytest.raises(UnknownGame, match=found) as caught:
        latest(book, game, horizon, minute, model)
    assert (caught.value.field, caught.value.expected, caught.value.reason) == (field, expected, "UNKNOWN_GAME")


def test_damage_is_told_of_as_such_though_it_ends_the_transaction(tmp_path: Path) -> None:
    with new_book(tmp_path) as book:
        recorded(book, forecast(GAME))
    damaged_pages(tmp_path / "ledger.db")
    unsound = pytest.raises(LedgerCorrupt, match="not a sound SQLite database")
    with closing(SqliteBackend(f"sqlite:///{tmp_path}/ledger.db")) as backend, unsound, backend.read() as connection:
        predictions.latest_forecast(connection, GAME, Horizon.FINAL, None, "")
