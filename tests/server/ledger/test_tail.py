"""The ledger's tail: every entry once and in order, woken at once by a commit of any process."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import answered, asked, outcome
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.processes.ledger_writer import Writer

from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerUnavailable
from dejavu_server.ledger.database import notify, store
from dejavu_server.ledger.database.postgres.listener import PostgresListener
from dejavu_server.ledger.followers import Followers
from dejavu_server.ledger.tail import Tail
from dejavu_server.records import IssuedForecast, ReportedOutcome

NEVER = 3600.0

Entry = IssuedForecast | ReportedOutcome


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the sockets; not in pytest's folder, whose path may be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="dejavu-test-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


async def collect(pages: AsyncGenerator[list[Entry], None], count: int) -> list[Entry]:
    found: list[Entry] = []
    while len(found) < count:
        found += await anext(pages)
    return found


def sockets(runtime: Path) -> list[Path]:
    return list(runtime.glob("dejavu-*/*/*.sock"))


def list_all(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


async def asleep(*ledgers: Ledger) -> None:
    """Waits until the tail of each ledger waits to be woken, having found nothing more."""
    async with asyncio.timeout(20):
        for ledger in ledgers:
            followers = ledger._followers
            while not followers.tails or not all(map(_waits, followers.tails)) or not _listens(followers):  # noqa: ASYNC110 - a wait is not announced
                await asyncio.sleep(0)


def _waits(tail: Tail) -> bool:
    return any(not waiter.done() for waiter in tail._woken._waiters)


def _listens(followers: Followers) -> bool:
    """Returns whether commits of other processes wake the tails: in PostgreSQL, that takes a connection first."""
    return not isinstance(followers._listener, PostgresListener) or followers._listener.is_listening


async def test_a_tail_begins_right_after_its_place_and_goes_on(ledger: Ledger) -> None:
    stored = await ledger.commit([issued(game(n)) for n in range(5)])
    async with aclosing(ledger.tail(2)) as pages:
        assert await collect(pages, 3) == stored[2:]
        stored += await ledger.commit([issued(game(n)) for n in range(5, 8)])
        assert await collect(pages, 3) == stored[5:]


async def test_a_long_backlog_comes_whole_and_in_order(ledger: Ledger) -> None:
    stored = await ledger.commit([issued(game(n)) for n in range(1201)])
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        assert await collect(pages, 1201) == stored


async def test_a_commit_wakes_every_tail_at_once(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as own, aclosing(other.tail(0, poll_seconds=NEVER)) as far:
        waiting = [asyncio.create_task(collect(pages, 1)) for pages in (own, far)]
        await asleep(ledger, other)
        stored = await ledger.commit([issued()])
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waiting) == [stored, stored]
    await other.close()


async def test_what_this_process_commits_is_not_read_back(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        waiting = asyncio.create_task(collect(pages, 6))
        await asleep(ledger)
        monkeypatch.setattr(ledger, "read_after", AsyncMock(side_effect=LedgerUnavailable("not to be read")))
        for number in range(3):
            await ledger.commit([issued(game(number)), asked(issued(game(10 + number)), answered(None))])
            await ledger.commit([issued(game(number))])  # nothing new
        read_back = await ledger.read(lambda connection: store.read_after(connection, 0, 10))
        assert await waiting == read_back
        assert [entry.sequence for entry in read_back] == [1, 2, 4, 5, 7, 8]  # each second one has a market after it


async def test_a_tail_that_was_woken_goes_back_to_sleep(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        for number in range(3):
            waiting = asyncio.create_task(collect(pages, 1))
            await asleep(ledger)
            reads = AsyncMock(wraps=ledger.read_after)
            with monkeypatch.context() as patched:
                patched.setattr(ledger, "read_after", reads)
                for _ in range(5):  # a tail that is awake would read as often during this loop
                    await ledger.head()
            assert not reads.await_count
            await ledger.commit([issued(game(number))])
            await waiting


async def test_a_commit_of_another_process_wakes_at_once(ledger: Ledger, url: str) -> None:
    with Writer(url, first=1, count=3) as writer:
        writer.ready()
        async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
            waiting = asyncio.create_task(collect(pages, 3))
            await asleep(ledger)
            writer.go()
            async with asyncio.timeout(20):
                assert [stored.game_id for stored in await waiting] == [game(n) for n in (1, 2, 3)]


async def test_what_no_announcement_told_of_is_found_by_looking(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify.Notifier, "notify", lambda self: None)
    async with aclosing(ledger.tail(0, poll_seconds=0.05)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        assert await ledger.commit([issued()]) == await waiting


async def test_a_tail_ends_when_the_ledger_cannot_be_read(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await Ledger.open(url)
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        monkeypatch.setattr(ledger, "read_after", AsyncMock(side_effect=LedgerUnavailable("for the moment")))
        await other.commit([issued()])
        with pytest.raises(LedgerUnavailable):
            await waiting
    await other.close()


@pytest.mark.sqlite
async def test_a_tail_ends_at_an_entry_that_cannot_be_read_back(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.commit([issued()])
    async with aclosing(ledger.tail(1, poll_seconds=0.01)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        add_unreadable_entry(tmp_path / "ledger.db")
        with pytest.raises(LedgerCorrupt):
            await waiting


@pytest.mark.sqlite
async def test_a_waiting_tail_holds_no_transaction(ledger: Ledger, tmp_path: Path) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        await ledger.commit([issued()])
        await waiting
        await asyncio.to_thread(checkpoint_everything, tmp_path / "ledger.db")


def checkpoint_everything(path: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    deadline = time.monotonic() + 20
    # The ledger copies its log too, a moment after each commit; a transaction would prevent this all the time.
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() != (0, 0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    connection.close()


@pytest.mark.sqlite
async def test_the_tails_of_a_ledger_share_a_socket_and_a_closed_ledger_leaves_nothing_behind(
    ledger: Ledger, runtime: Path
) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        ledger.listen(asyncio.Event())
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        assert len(sockets(runtime)) == 1
        waiting.cancel()
        await asyncio.wait([waiting])
    await ledger.close()
    assert list_all(runtime) == [runtime / f"dejavu-{os.getuid()}"]


@pytest.mark.sqlite
async def test_the_socket_of_a_killed_process_is_removed(ledger: Ledger, runtime: Path) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        [live] = sockets(runtime)
        dead = live.with_name("dead.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
            left.bind(str(dead))
        await ledger.commit([issued()])
        await waiting
        await ledger.commit([issued(game(2))])  # the first one was answered before the sockets were looked at
        assert live.exists()
        assert not dead.exists()


async def test_a_listener_that_comes_after_the_folder_was_listed_is_notified(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = notify.runtime_folder(Path("/some/ledger.db"))
    woken: list[str] = []
    first = notify.Listener(folder, lambda: woken.append("first"))
    os.utime(folder, (1.0, 1.0))  # unchanged for long, so that the list is kept
    notifier = notify.Notifier(folder)
    notifier.notify()
    first._read()
    listed = Mock(wraps=os.scandir)
    monkeypatch.setattr(os, "scandir", listed)
    notifier.notify()
    first._read()
    assert (woken, listed.call_count) == (["first", "first"], 0)
    second = notify.Listener(folder, lambda: woken.append("second"))
    for _ in range(2):  # the folder has changed just now, so it is listed each time
        notifier.notify()
    assert listed.call_count == 2
    second._read()
    assert woken[-1] == "second"
    for each in (first, second):
        each.close()
    notifier.notify()  # to nobody: the folder is gone
    notifier.close()


async def test_a_tail_that_does_not_read_delays_nobody(ledger: Ledger, runtime: Path) -> None:
    folder = notify.runtime_folder(Path("/some/ledger.db"))
    listener = notify.Listener(folder, lambda: None)
    announcer = notify.Notifier(folder)
    for _ in range(2000):  # far more than a socket's queue takes; the event loop reads none of them during this loop
        announcer.notify()
    announcer.close()
    listener.close()


def test_the_folder_of_the_sockets_is_private_and_follows_from_the_path(runtime: Path) -> None:
    folder = notify.runtime_folder(Path("/a/ledger.db"))
    assert folder == notify.runtime_folder(Path("/a/ledger.db"))
    assert folder != notify.runtime_folder(Path("/b/ledger.db"))
    assert folder.parent.parent == runtime
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_can_enter_is_not_used(runtime: Path) -> None:
    (runtime / f"dejavu-{os.getuid()}").mkdir()
    (runtime / f"dejavu-{os.getuid()}").chmod(0o755)
    with pytest.raises(PermissionError):
        notify.runtime_folder(Path("/a/ledger.db"))


def test_a_runtime_folder_too_deep_for_a_socket_is_passed_over(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = runtime / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    assert notify.runtime_folder(Path("/a/ledger.db")).parent.parent == runtime


async def test_without_a_folder_for_sockets_the_ledger_works_all_the_same(
    url: str, monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    (runtime / f"dejavu-{os.getuid()}").write_text("not a folder")
    ledger = await Ledger.open(url)
    async with aclosing(ledger.tail(0, poll_seconds=0.01)) as pages:
        waiting = asyncio.create_task(collect(pages, 1))
        assert await ledger.commit([issued()]) == await waiting
    await ledger.close()


class CountingReader:
    """Reads no entries while it is idle; says how far they were skipped."""

    def __init__(self) -> None:
        self.idle = True
        self.skipped = 0

    def skip_to(self, sequence: int) -> None:
        self.skipped = sequence


async def test_what_nobody_reads_wakes_nobody(ledger: Ledger) -> None:
    reader = CountingReader()
    committed = asyncio.Event()
    async with aclosing(ledger.tail(0, poll_seconds=NEVER, reader=reader)) as pages:
        reading = asyncio.create_task(collect(pages, 1))
        await asleep(ledger)
        ledger.listen(committed)
        [tail] = ledger._followers.tails
        await ledger.commit([issued(game(n)) for n in range(3)])
        assert reader.skipped == 3
        assert _waits(tail)
        assert not committed.is_set()
        reader.idle = False
        [stored] = await ledger.commit([issued(game(3))])
        assert await reading == [stored]
    assert not committed.is_set()
    await ledger.record_outcome(outcome(4, game(0)))
    assert committed.is_set()
