"""Pages of the newest forecasts of recent games: together equal to one read, whatever is recorded between them."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from tests.support.builders.evening_events import FINAL, GAME, said, told
from tests.support.builders.record_book import EVENING, RecordBook, forecast

from dejavu_common.clock import microseconds
from dejavu_ledger.database import store
from dejavu_ledger.queries import predictions
from dejavu_ledger.queries.predictions import CurrentFilter
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon

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


def newest_of_each(book: RecordBook, filter_: CurrentFilter) -> list[int]:
    """Return the sequences that the pages must have, from all entries."""
    newest: dict[tuple[str, Horizon], int] = {}
    for each in book.read(lambda connection: store.read_after(connection, 0, 10_000)):
        if (
            isinstance(each, IssuedForecast)
            and each.late is None
            and each.sequence <= filter_.up_to
            and microseconds(each.generated_time) >= filter_.since_us
            and (not filter_.game_ids or each.game_id in filter_.game_ids)
        ):
            newest[each.game_id, each.forecast.horizon] = each.sequence
    return sorted(newest.values())


@pytest.mark.parametrize("games", [frozenset[str](), frozenset(GAMES[:3])], ids=["all games", "some games"])
@pytest.mark.parametrize("seed", range(3))
def test_pages_are_together_what_was_newest_at_the_start_whatever_is_recorded_between_them(
    book: RecordBook, monkeypatch: pytest.MonkeyPatch, seed: int, games: frozenset[str]
) -> None:
    monkeypatch.setattr(predictions, "MAX_SEQUENCES_SCANNED", 7)
    rng = random.Random(seed)
    add(book, rng, 60)
    filter_ = CurrentFilter(games, SINCE, book.read(store.newest).sequence - 5)
    expected = newest_of_each(book, filter_)
    assert len(expected) >= len(games or GAMES)
    after = [book.read(lambda connection: predictions.start_of_current(connection, filter_))]
    found: list[int] = []
    while after[-1] < filter_.up_to:
        page = book.read(lambda connection: predictions.current_page(connection, filter_, after[-1], 3))
        found += [each.sequence for each in page.forecasts]
        assert len(page.forecasts) <= 3
        after.append(page.through)
        add(book, rng, 2)
    assert found == expected
    assert all(earlier < later for earlier, later in pairwise(after))


def test_a_ledger_without_a_recent_forecast_has_no_page(book: RecordBook) -> None:
    for up_to in (0, 1):
        filter_ = CurrentFilter(frozenset(), SINCE, up_to)
        assert book.read(partial(predictions.start_of_current, filter_=filter_)) == up_to
        book.predict(forecast(GAMES[0], generated_time=OLD))


def test_what_others_record_of_a_game_is_neither_current_nor_latest(book: RecordBook) -> None:
    owned, _ = told(book, said(20, by="a"), said(21, by="b"))
    wanted = CurrentFilter(frozenset(), 0, 1000)
    page = book.read(partial(predictions.current_page, filter_=wanted, after=0, limit=10))
    latest = book.read(partial(predictions.latest_forecast, game_id=GAME, horizon=FINAL)).latest
    assert page.forecasts == [owned] == [latest.issued]
