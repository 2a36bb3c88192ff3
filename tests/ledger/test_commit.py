"""Ledger contents after a commit, and the results returned to the caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import GAME, game, issued, recorded
from tests.support.fakes.memory_backend import MemoryBackend
from tests.support.processes.servers import put_missing_ledger

from dejavu_common.tasks import give_way
from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_ledger import Ledger, LedgerCorrupt, LedgerUnavailable, verify
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.recording_rules import RecordingLimits
from dejavu_ledger.records import IssuedForecast
from dejavu_models.results import Failed


def made(
    *,
    game_date: date | None = None,
    total_points: int | None = None,
    last_score: LastScore | None = None,
    neutral_site: bool | None = None,
    **fields: Any,
) -> IssuedForecast:
    live = LiveInputs(total_points, last_score, neutral_site=neutral_site)
    return replace(issued(**fields), game_date=game_date, live=live)


async def places(ledger: Ledger, *forecasts: IssuedForecast) -> list[tuple[int, int]]:
    return [(stored.sequence, stored.revision) for stored in await recorded(ledger, *forecasts)]


FIRST: dict[str, Any] = {"pattern": (1.0, 2.0)}
CORRECTED: dict[str, Any] = {"pattern": (1.0, 4.0)}
SWAPPED = {"home_team": "GSW", "away_team": "BKN"}
DAY, NEXT = date(2023, 11, 1), date(2023, 11, 2)
EVENING = {"generated_time": datetime(2023, 11, 2, 1, tzinfo=UTC)}
"""An evening of DAY in New York."""
LAST = LastScore(Side.AWAY, 12)
SCORED = {"total_points": 81, "last_score": LAST}

REVISIONS: dict[str, list[tuple[dict[str, Any], int]]] = {
    "another answer is no correction": [({"point": 1.0}, 0), ({"point": 2.0}, 0)],
    "pattern, also corrected back": [(FIRST, 0), (CORRECTED, 1), (CORRECTED, 1), (FIRST, 2)],
    "teams, also corrected back": [({}, 0), (SWAPPED, 1), (SWAPPED, 1), ({"away_team": ""}, 2), ({}, 3)],
    "date, also corrected back": [
        ({"game_date": DAY}, 0),
        ({}, 0),
        ({"game_date": NEXT}, 1),
        ({"game_date": NEXT}, 1),
        ({"game_date": DAY}, 2),
    ],
    "the date of its evening is none": [(EVENING, 0), ({"game_date": DAY}, 0), ({}, 0)],
    "a wrong date": [({"game_date": NEXT, **EVENING}, 0), ({"game_date": DAY, **EVENING}, 1), (EVENING, 1)],
    "live inputs left out": [(SCORED, 0), ({"total_points": 81}, 0), ({"last_score": LAST}, 0), ({}, 0)],
    "live inputs added and corrected": [
        ({}, 0),
        ({"total_points": 81}, 1),
        (SCORED, 2),
        ({**SCORED, "total_points": 83}, 3),
        (SCORED, 4),
        ({"total_points": 83}, 5),
        ({}, 5),
    ],
    "a neutral site": [({"neutral_site": True}, 0), ({}, 0), ({"neutral_site": False}, 1)],
}
"""Requests for one forecast, one after the other, and the revision that answers each."""


@pytest.mark.parametrize("steps", REVISIONS.values(), ids=REVISIONS)
async def test_a_correction_is_a_revision_and_a_repetition_is_answered_as_stored(
    ledger: Ledger, url: str, steps: list[tuple[dict[str, Any], int]]
) -> None:
    stored: list[IssuedForecast] = []
    for fields, revision in steps:
        given = made(**fields)
        [answer] = await recorded(ledger, given)
        assert answer.revision == revision
        if len(stored) <= revision:
            assert answer == replace(given, sequence=revision + 1, revision=revision, late=answer.late)
            stored.append(answer)
        assert answer == stored[revision]
    assert await ledger.read_after(0, 10) == stored
    assert verify(url).forecasts == len(stored)


async def test_one_call_may_hold_the_same_forecast_twice(ledger: Ledger, url: str) -> None:
    a, b = made(**FIRST), made(**CORRECTED)
    assert await places(ledger, a, a, b, a) == [(1, 0), (1, 0), (2, 1), (3, 2)]
    scored = [
        made(game_id=game(2), **fields) for fields in (SCORED, {"total_points": 81}, {**SCORED, "total_points": 83})
    ]
    assert await places(ledger, *scored, scored[-1]) == [(4, 0), (4, 0), (5, 1), (5, 1)]
    assert verify(url).forecasts == 5


async def test_a_reopened_ledger_goes_on_where_it_was(url: str) -> None:
    first = await Ledger.open(url)
    stored = await recorded(first, issued(pattern=(1.0,)), issued(pattern=(2.0,)))
    token = first.token(2)
    await first.close()
    again = await Ledger.open(url)
    assert await again.read_after(0, 10) == stored
    assert await again.read_after(1, 1) == stored[1:]
    assert await again.resume_position(token) == 2
    assert await places(again, issued(pattern=(3.0,))) == [(3, 2)]
    await again.close()


async def test_what_is_no_forecast_of_a_game_is_refused_and_nothing_is_recorded(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="without a game"):
        await ledger.commit([issued(), issued("")])
    assert await ledger.commit([]) == []
    assert await ledger.head() == 0


@pytest.mark.parametrize(("hours", "day"), [(0, date(2026, 11, 21)), (8, date(2026, 11, 22))])
def test_without_a_date_the_day_of_the_game_is_the_day_of_the_forecast(hours: int, day: date) -> None:
    """In New York, where a day of games ends at 6 or 7 in the morning."""
    late_evening = datetime(2026, 11, 22, 4, 30, tzinfo=UTC) + timedelta(hours=hours)
    assert issued(generated_time=late_evening).day == day
    assert made(generated_time=late_evening, game_date=DAY).day == DAY


class HeldBackend(MemoryBackend):
    """Holds each transaction at its start until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.entered.set()
        assert self.released.wait(20)
        with super().write() as connection:
            yield connection


@pytest.fixture
async def held() -> AsyncIterator[tuple[Ledger, HeldBackend]]:
    """A ledger whose next transaction is held."""
    backend = HeldBackend()
    ledger = await Ledger.open_backend(backend)
    backend.entered.clear()
    backend.released.clear()
    yield ledger, backend
    backend.released.set()
    await ledger.close()


async def writing(ledger: Ledger, backend: HeldBackend, number: int) -> asyncio.Task[Any]:
    """Return the call of a forecast whose transaction has begun: later calls wait for it."""
    call = asyncio.create_task(ledger.commit([issued(game(number))]))
    assert await asyncio.to_thread(backend.entered.wait, 20)
    return call


async def waiting(ledger: Ledger, number: int, home_team: str = "BKN") -> asyncio.Task[list[IssuedForecast]]:
    """Return a call of one forecast that waits for the transaction before it."""
    call = asyncio.create_task(recorded(ledger, issued(game(number), home_team=home_team)))
    await give_way()  # it has run up to its wait, also if it gave way on a busy machine
    return call


async def test_what_waits_is_committed_in_order(held: tuple[Ledger, HeldBackend]) -> None:
    ledger, backend = held
    first = await writing(ledger, backend, 0)
    calls = [await waiting(ledger, number) for number in range(1, 10)]
    backend.released.set()
    await first
    answers = await asyncio.gather(*calls)
    assert [[stored.sequence for stored in answer] for answer in answers] == [[n] for n in range(2, 11)]
    assert [answer[0].game_id for answer in answers] == [game(n) for n in range(1, 10)]


async def test_a_call_cancelled_while_it_waits_leaves_no_trace_and_one_that_is_written_is_recorded(
    held: tuple[Ledger, HeldBackend],
) -> None:
    ledger, backend = held
    written = await writing(ledger, backend, 1)
    unwritten, last = await waiting(ledger, 2), await waiting(ledger, 3)
    for call in (written, unwritten):
        call.cancel()
    await asyncio.wait([written, unwritten])
    backend.released.set()
    await last
    assert [stored.game_id for stored in await ledger.read_after(0, 10)] == [game(1), game(3)]


async def test_a_call_that_fails_fails_alone(held: tuple[Ledger, HeldBackend]) -> None:
    ledger, backend = held
    with MemoryBackend.write(backend) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER bad AFTER INSERT ON forecasts WHEN NEW.home_team = 'BAD'"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    await writing(ledger, backend, 0)
    calls = [await waiting(ledger, number, home_team="BAD" if number == 3 else "BKN") for number in range(1, 6)]
    backend.released.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, LedgerCorrupt, list, list]
    assert [stored.game_id for stored in await ledger.read_after(0, 10)] == [game(n) for n in (0, 1, 2, 4, 5)]


async def test_closing_commits_what_waits_and_refuses_the_rest(url: str) -> None:
    ledger = await Ledger.open(url)
    calls = [await waiting(ledger, number) for number in range(20)]
    await ledger.close()
    assert [(await call)[0].sequence for call in calls] == list(range(1, 21))
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.commit([issued(GAME)])
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.head()
    await ledger.close()
    assert verify(url).entries == 20


async def test_no_caller_uses_up_the_forecasts_of_a_game(url: str) -> None:
    """Otherwise one that repeats a minute with other margins keeps the poller's forecasts out of the record."""

    async def committed(number: int, caller: str) -> str:
        [result] = await ledger.commit([replace(issued(game(1), pattern=(float(number),)), recorded_by=caller)])
        return type(result.error).__name__ if isinstance(result, Failed) else caller

    calls = [*["token:a"] * 3, *["token:b"] * 2, *[""] * 5]
    answers = list[str]()
    put_missing_ledger(url)
    for start in (0, 5):  # also counted again by a server that starts
        ledger = await Ledger.open(url, limits=RecordingLimits(forecasts=8))
        answers += [await committed(number, calls[number]) for number in range(start, start + 5)]
        await ledger.close()
    assert answers == ["token:a", "token:a", "GameFull", "token:b", "token:b", *[""] * 4, "GameFull"]
