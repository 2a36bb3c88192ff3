"""Ledger contents after a commit, and the results returned to the caller."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from tests.support.builders.issued_forecasts import GAME, current, game, issued, recorded

from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger, LedgerUnavailable, verify
from dejavu_server.ledger.database import store
from dejavu_server.records import IssuedForecast
from dejavu_server.results import Result


async def places(ledger: Ledger, *forecasts: IssuedForecast) -> list[tuple[int, int]]:
    return [(stored.sequence, stored.revision) for stored in await recorded(ledger, *forecasts)]


async def test_a_new_forecast_gets_the_next_place(ledger: Ledger) -> None:
    first = issued(game(1))
    assert await ledger.commit([first]) == [replace(first, sequence=1, revision=0)]
    assert await places(ledger, issued(game(2)), issued(game(3))) == [(2, 0), (3, 0)]
    assert await ledger.head() == 3


async def test_a_repeated_forecast_is_answered_as_stored(ledger: Ledger) -> None:
    [stored] = await ledger.commit([issued(point=1.0)])
    assert await ledger.commit([issued(point=2.0)]) == [stored]
    assert await ledger.head() == 1


async def test_a_corrected_pattern_is_a_new_revision_also_when_corrected_back(ledger: Ledger) -> None:
    first, corrected = (1.0, 2.0), (1.0, 4.0)
    assert await places(ledger, issued(pattern=first)) == [(1, 0)]
    assert await places(ledger, issued(pattern=corrected)) == [(2, 1)]
    assert await places(ledger, issued(pattern=corrected)) == [(2, 1)]
    assert await places(ledger, issued(pattern=first)) == [(3, 2)]


async def test_corrected_teams_are_a_new_revision_also_when_corrected_back(ledger: Ledger) -> None:
    assert await places(ledger, issued()) == [(1, 0)]
    assert await places(ledger, issued(home_team="GSW", away_team="BKN")) == [(2, 1)]
    assert await places(ledger, issued(home_team="GSW", away_team="BKN")) == [(2, 1)]
    assert await places(ledger, issued(away_team="")) == [(3, 2)]
    assert await places(ledger, issued()) == [(4, 3)]


async def test_one_call_may_hold_the_same_forecast_twice(ledger: Ledger) -> None:
    a, b = issued(pattern=(1.0, 2.0)), issued(pattern=(1.0, 4.0))
    assert await places(ledger, a, a, b, a) == [(1, 0), (1, 0), (2, 1), (3, 2)]


@pytest.mark.parametrize(
    "other",
    [
        {"game_id": game(2)},
        {"horizon": Horizon.FINAL},
        {"pattern": (0.0, 2.0)},
        {"alpha": 0.1},
        {"model_version": "v2"},
        {"pregame_margin": 0.0},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_every_part_of_the_key_counts(ledger: Ledger, other: dict[str, Any]) -> None:
    assert await places(ledger, issued(), issued(**other)) == [(1, 0), (2, 0)]


async def test_the_ledger_reads_back_what_it_was_given(ledger: Ledger) -> None:
    given = [issued(game(number), alpha=0.1 + number / 1000, pregame_margin=-5.5) for number in range(5)]
    stored = await ledger.commit(given)
    assert await ledger.read_after(0, 100) == stored
    assert await ledger.read_after(2, 2) == stored[2:4]
    assert await ledger.read_after(5, 100) == []


async def test_a_reopened_ledger_goes_on_where_it_was(url: str) -> None:
    first = await Ledger.open(url)
    stored = await first.commit([issued(pattern=(1.0,)), issued(pattern=(2.0,))])
    token = first.token(2)
    await first.close()
    again = await Ledger.open(url)
    assert await again.read_after(0, 10) == stored
    assert await again.resume_position(token) == 2
    assert await places(again, issued(pattern=(3.0,))) == [(3, 2)]
    await again.close()


async def test_nothing_is_recorded_of_an_empty_call(ledger: Ledger) -> None:
    assert await ledger.commit([]) == []
    assert await ledger.head() == 0


async def test_a_what_if_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="without a game"):
        await ledger.commit([issued(), issued("")])
    assert await ledger.head() == 0


async def test_current_is_the_newest_of_each_game_and_horizon(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    long_ago = now - timedelta(hours=13)
    stored = await ledger.commit(
        [
            issued(game(1), generated_time=long_ago),
            issued(game(2), pattern=(1.0,)),
            issued(game(3)),
            issued(game(2), horizon=Horizon.FINAL),
            issued(game(2), pattern=(1.0, 2.0)),
            issued(game(3), pattern=(5.0,)),
        ]
    )
    since = now - timedelta(hours=12)
    assert await current(ledger, frozenset(), since, 6) == stored[3:]
    assert await current(ledger, frozenset({game(2)}), since, 6) == stored[3:5]
    assert await current(ledger, frozenset(), since, 4) == stored[1:4]
    assert await current(ledger, frozenset({game(1)}), since, 6) == []
    assert await current(ledger, frozenset(), long_ago, 6) == [stored[0], *stored[3:]]


class Held:
    """Blocks the writer at its next transaction, so that calls queued meanwhile form one group."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = asyncio.Event()
        self.released = threading.Event()
        self.groups: list[int] = []
        loop, append = asyncio.get_running_loop(), store.append

        def held(connection: Any, drafts: Any, *limits: Any) -> list[Result[IssuedForecast]]:
            self.groups.append(len(drafts))
            loop.call_soon_threadsafe(self.entered.set)
            assert self.released.wait(10)
            return append(connection, drafts, *limits)

        monkeypatch.setattr(store, "append", held)


async def test_what_waits_is_committed_together_in_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    calls = [asyncio.create_task(recorded(ledger, issued(game(0))))]
    await held.entered.wait()
    calls += [asyncio.create_task(recorded(ledger, issued(game(n)), issued(game(n)))) for n in range(1, 10)]
    await asyncio.sleep(0)  # each task has run up to its wait, so its call is queued
    held.released.set()
    answers = await asyncio.gather(*calls)
    assert held.groups == [1, 18]
    assert [[stored.sequence for stored in answer] for answer in answers] == [[1], *([n, n] for n in range(2, 11))]
    assert [answer[0].game_id for answer in answers] == [game(n) for n in range(10)]


async def test_a_call_cancelled_while_it_waits_leaves_no_trace(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    first = asyncio.create_task(ledger.commit([issued(game(1))]))
    await held.entered.wait()
    waiting = asyncio.create_task(ledger.commit([issued(game(2))]))
    await asyncio.sleep(0)
    waiting.cancel()
    last = asyncio.create_task(ledger.commit([issued(game(3))]))
    await asyncio.sleep(0)
    held.released.set()
    await asyncio.gather(first, last)
    assert waiting.cancelled()
    assert [stored.game_id for stored in await ledger.read_after(0, 10)] == [game(1), game(3)]


async def test_a_call_cancelled_while_it_is_written_is_recorded(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    call = asyncio.create_task(ledger.commit([issued()]))
    await held.entered.wait()
    call.cancel()
    await asyncio.wait([call])
    held.released.set()
    assert await places(ledger, issued()) == [(1, 0)]


async def test_a_call_that_fails_fails_alone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    append = store.append

    def picky(connection: Any, drafts: Any, *limits: Any) -> list[Result[IssuedForecast]]:
        answers = append(connection, drafts, *limits)  # fails after everything was written
        if any(draft.issued.home_team == "BAD" for draft in drafts):
            raise RuntimeError("not this one")
        return answers

    held = Held(monkeypatch)
    first = asyncio.create_task(ledger.commit([issued(game(0))]))
    await held.entered.wait()
    monkeypatch.setattr(store, "append", picky)
    calls = [
        asyncio.create_task(recorded(ledger, issued(game(n), home_team="BAD" if n == 3 else "BKN")))
        for n in range(1, 6)
    ]
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        held.released.set()
        await first
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [entry["event"] for entry in logs] == ["ledger_commit_failed"]
    assert isinstance(answers[2], LedgerUnavailable)
    assert "not this one" not in str(answers[2])
    assert [answer[0].game_id for answer in answers if isinstance(answer, list)] == [game(n) for n in (1, 2, 4, 5)]
    assert [stored.game_id for stored in await ledger.read_after(0, 10)] == [game(n) for n in (0, 1, 2, 4, 5)]


async def test_closing_commits_what_waits_and_refuses_the_rest(url: str) -> None:
    ledger = await Ledger.open(url)
    waiting = [asyncio.create_task(recorded(ledger, issued(game(n)))) for n in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    assert [(await call)[0].sequence for call in waiting] == list(range(1, 21))
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.commit([issued(GAME)])
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.head()
    await ledger.close()
    assert verify(url).entries == 20
