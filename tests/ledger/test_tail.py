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

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import outcome
from tests.support.processes.ledger_writer import Writer
from tests.support.processes.postgres import on_postgres

from dejavu_ledger import Ledger
from dejavu_ledger.database import notify
from dejavu_ledger.records import IssuedForecast, ReportedOutcome

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


def list_all(folder: Path, pattern: str = "*") -> list[Path]:
    return list(folder.rglob(pattern))


async def test_a_tail_begins_right_after_its_place_and_goes_on(ledger: Ledger) -> None:
    stored = await ledger.commit([issued(game(n)) for n in range(1200)])
    async with aclosing(ledger.tail(2)) as pages:
        assert await collect(pages, 1198) == stored[2:]
        stored += await ledger.commit([issued(game(n)) for n in range(1200, 1203)])
        assert await collect(pages, 3) == stored[1200:]


async def test_every_commit_wakes_every_tail_at_once_also_that_of_another_process(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    async with (
        aclosing(ledger.tail(0, poll_seconds=NEVER)) as own,
        aclosing(other.tail(0, poll_seconds=NEVER)) as far,
        asyncio.timeout(60),
    ):

        def next_of_both(count: int) -> list[asyncio.Task[list[Entry]]]:
            return [asyncio.create_task(collect(pages, count)) for pages in (own, far)]

        for number in range(20):  # a tail sleeps before most of them
            waiting = next_of_both(1)
            await asyncio.sleep(0)
            stored = await ledger.commit([issued(game(number))])
            assert await asyncio.gather(*waiting) == [stored, stored]
        with Writer(url, first=21, count=3) as writer:
            writer.ready()
            waiting = next_of_both(3)
            await asyncio.sleep(0.1)  # they have read that there is nothing
            writer.go()
            for found in await asyncio.gather(*waiting):
                assert [stored.game_id for stored in found] == [game(n) for n in (21, 22, 23)]
    await other.close()


async def test_outcomes_set_the_event_of_a_listener_and_forecasts_do_not(ledger: Ledger) -> None:
    committed = asyncio.Event()
    ledger.listen(committed)
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages, asyncio.timeout(20):
        if on_postgres():
            await committed.wait()  # once it listens: for what was committed until then
            committed.clear()
        await ledger.commit([issued(game(1))])
        await collect(pages, 1)
        assert not committed.is_set()
        await ledger.record_outcome(outcome(4, game(1)))
        await committed.wait()


@pytest.mark.sqlite
async def test_a_waiting_tail_holds_no_transaction(ledger: Ledger, tmp_path: Path) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        await ledger.commit([issued()])
        await collect(pages, 1)
        waiting = asyncio.create_task(collect(pages, 1))
        await asyncio.to_thread(checkpoint_everything, tmp_path / "ledger.db")
        waiting.cancel()
        await asyncio.wait([waiting])


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
async def test_tails_share_a_socket_that_of_a_killed_process_is_removed_and_a_closed_ledger_leaves_none(
    ledger: Ledger, runtime: Path
) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=NEVER)) as pages:
        ledger.listen(asyncio.Event())
        await ledger.commit([issued()])
        await collect(pages, 1)
        [live] = list_all(runtime, "*.sock")
        dead = live.with_name("dead.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
            left.bind(str(dead))
        for number in (2, 3):  # the first one is answered before the sockets are looked at
            await ledger.commit([issued(game(number))])
        assert (live.exists(), dead.exists()) == (True, False)
    await ledger.close()
    assert list_all(runtime) == [runtime / f"dejavu-{os.getuid()}"]


async def test_a_listener_is_notified_whenever_it_comes_and_one_that_does_not_read_delays_nobody(runtime: Path) -> None:
    folder = notify.runtime_folder(Path("/some/ledger.db"))
    notifier, woken = notify.Notifier(folder), [asyncio.Event(), asyncio.Event()]
    listeners = []
    for event in woken:  # the second one comes after the folder was listed
        listeners.append(notify.Listener(folder, event.set))
        notifier.notify()
        async with asyncio.timeout(20):
            await event.wait()
    for _ in range(2000):  # far more than a socket's queue takes; the event loop reads none of them during this loop
        notifier.notify()
    for listener in listeners:
        listener.close()
    notifier.notify()  # to nobody: the folder is gone
    notifier.close()


def test_the_folder_of_the_sockets_is_private_short_and_follows_from_the_path(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = (notify.runtime_folder(Path(f"/{name}/ledger.db")) for name in "ab")
    assert folder == notify.runtime_folder(Path("/a/ledger.db")) != other
    home = runtime / f"dejavu-{os.getuid()}"
    assert folder.parent == home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o755)  # others can enter it
    with pytest.raises(PermissionError):
        notify.runtime_folder(Path("/a/ledger.db"))
    home.chmod(0o700)
    deep = runtime / ("x" * 90)  # too deep for a socket
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    assert notify.runtime_folder(Path("/a/ledger.db")).parent == home


async def test_without_a_folder_for_sockets_the_ledger_works_all_the_same(url: str, runtime: Path) -> None:
    (runtime / f"dejavu-{os.getuid()}").write_text("not a folder")
    ledger, other = await Ledger.open(url), await Ledger.open(url)
    async with aclosing(ledger.tail(0, poll_seconds=0.01)) as pages, asyncio.timeout(20):
        waiting = asyncio.create_task(collect(pages, 1))
        assert await other.commit([issued()]) == await waiting, "it is found by looking"
    for each in (ledger, other):
        await each.close()
