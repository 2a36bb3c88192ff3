"""The ledger's tail: every entry once and in order, woken by any commit; and the tokens it resumes from."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import tempfile
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import outcome
from tests.support.harness.laws import examples
from tests.support.harness.tokens import lose_entries_after_2, token_of
from tests.support.processes.ledger_writer import Writer
from tests.support.processes.postgres import ledger_url, on_postgres

from dejavu_ledger import InvalidResumeToken, Ledger, LedgerUnavailable, ResumeTokenExpired, tail
from dejavu_ledger.database import sql, sqlite_engine
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.recording import Appended
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.tail import MAX_HANDED, PAGE_SIZE, Entry, Tail
from dejavu_models.errors import InvalidInput

NEVER = 3600.0


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
        dead = live.with_name(f"{live.stem}-dead.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
            left.bind(str(dead))
        for number in (2, 3):  # the first one is answered before the sockets are looked at
            await ledger.commit([issued(game(number))])
        assert (live.exists(), dead.exists()) == (True, False)
    await ledger.close()
    assert list_all(runtime) == [runtime / f"dejavu-{os.getuid()}"]


async def test_a_listener_is_notified_whenever_it_comes_and_one_that_does_not_read_delays_nobody(runtime: Path) -> None:
    sockets, woken = sqlite_engine.sockets_of(Path("/some/ledger.db")), [asyncio.Event(), asyncio.Event()]
    listeners = []
    for event in woken:
        listeners.append(sqlite_engine.Listener(sockets, event.set))
        sqlite_engine.notify(sockets)
        async with asyncio.timeout(20):
            await event.wait()
    for _ in range(2000):  # far more than a socket's queue takes; the event loop reads none of them during this loop
        sqlite_engine.notify(sockets)
    for listener in listeners:
        listener.close()
    sqlite_engine.notify(sockets)  # to nobody


def test_the_folder_of_the_sockets_is_private_and_follows_from_the_path(runtime: Path) -> None:
    one, other = (sqlite_engine.sockets_of(Path(f"/{name}/ledger.db")) for name in "ab")
    assert one == sqlite_engine.sockets_of(Path("/a/ledger.db")) != other
    home = runtime / f"dejavu-{os.getuid()}"
    assert one.parent == home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o755)  # others can enter it
    with pytest.raises(PermissionError):
        sqlite_engine.sockets_of(Path("/a/ledger.db"))


async def test_without_a_folder_for_sockets_the_ledger_works_all_the_same(url: str, runtime: Path) -> None:
    (runtime / f"dejavu-{os.getuid()}").write_text("not a folder")
    ledger, other = await Ledger.open(url), await Ledger.open(url)
    async with aclosing(ledger.tail(0, poll_seconds=0.01)) as pages, asyncio.timeout(20):
        waiting = asyncio.create_task(collect(pages, 1))
        assert await other.commit([issued()]) == await waiting, "it is found by looking"
    for each in (ledger, other):
        await each.close()


# Whoever commits, in whatever order, with reads that fail.

OWN, OWN_MARKET, FOREIGN, FOREIGN_MARKET, UNANNOUNCED, OUTCOME, FAILURE, TURN, IDLE = range(9)


class Entries:
    """A ledger of numbered entries; some are of a kind that a tail does not return.

    Attributes:
        head: sequence of the newest entry.
        wanted: sequences that a tail returns.
        failures: how many of the next reads fail.
        reads: how often it was read.
    """

    def __init__(self) -> None:
        self.head = 0
        self.wanted: list[int] = []
        self.failures = 0
        self.reads = 0

    def add(self, count: int, *, market: bool) -> Appended:
        """Append forecasts, and another kind of entry after them; return what a writer would hand over."""
        after = self.head
        sequences = range(after + 1, after + count + 1)
        self.wanted += sequences
        self.head = after + count + market
        forecasts = [cast("IssuedForecast", ChainHead(sequence, b"")) for sequence in sequences]
        return Appended(after, tuple(forecasts), self.head)

    async def read_after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the entries committed at the beginning or at the end of the read, as a database could."""
        self.reads += 1
        await self._begin()
        first = bisect_right(self.wanted, sequence)
        page = [ChainHead(each, b"") for each in self.wanted[first : first + limit]]
        await asyncio.sleep(0)
        return cast("list[Entry]", page)

    async def newest(self) -> ChainHead:
        """Return the position of the newest wanted entry at the time when the read begins."""
        await self._begin()
        newest = self.wanted[-1] if self.wanted else 0
        await asyncio.sleep(0)
        return ChainHead(newest, b"")

    async def _begin(self) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("for the moment")


counts = st.sampled_from([1, 1, 1, 2, 2, 3, 4, PAGE_SIZE - 1, PAGE_SIZE, MAX_HANDED])
operations = st.lists(st.tuples(st.sampled_from(range(9)), counts), max_size=40)


@settings(deadline=None, max_examples=examples(40))
@given(operations)
def test_a_tail_returns_every_entry_once_in_order_unless_its_reader_is_idle(taken: list[tuple[int, int]]) -> None:
    asyncio.run(_follow_entries(taken))


class Follower:
    """Follows entries with a tail; after every failure, a new tail continues from the position of the last one."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self.found: list[int] = []
        self.idle = False
        self.skipped: set[int] = set()
        self.reached = 0  # the newest entry that was found or skipped
        self.tail = Tail(entries, 0, self)

    def skip_to(self, position: ChainHead) -> None:
        assert self.idle
        self.skipped.update(each for each in self._entries.wanted if self.reached < each <= position.sequence)
        self.reached = max(self.reached, position.sequence)

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(self.tail.pages(NEVER, lambda: False)) as pages:
                    async for page in pages:
                        assert page
                        self.found.extend(entry.sequence for entry in page)
                        self.reached = max(self.reached, self.found[-1])
                        await asyncio.sleep(0)
            except LedgerUnavailable:
                self.tail = Tail(self._entries, self.reached, self)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _follow_entries(taken: list[tuple[int, int]]) -> None:
    entries = Entries()
    follower = Follower(entries)
    following = asyncio.create_task(follower.run())
    await asyncio.sleep(0)
    for kind, count in taken:
        if kind == FAILURE:
            entries.failures = 1
        elif kind == TURN:
            await _turns(min(count, 4))
        elif kind == IDLE:
            follower.idle = not follower.idle
        else:
            appended = entries.add(count, market=kind in (OWN_MARKET, FOREIGN_MARKET))
            if kind in (OWN, OWN_MARKET):
                follower.tail.hand(appended)
            elif kind != UNANNOUNCED:
                follower.tail.wake()
    follower.tail.wake()
    async with asyncio.timeout(20):
        while entries.wanted and follower.reached < entries.wanted[-1]:
            assert not following.done()
            await asyncio.sleep(0)
    await _turns(20)
    reads = entries.reads
    await _turns(20)
    assert entries.reads == reads, "it sleeps"
    following.cancel()
    await asyncio.wait([following])
    assert follower.found == sorted(follower.found)
    assert sorted([*follower.found, *follower.skipped]) == entries.wanted
    if IDLE not in {kind for kind, _ in taken}:
        assert not follower.skipped


all_tokens = st.builds(
    tail.ResumeToken,
    ledger_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    epoch=st.binary(min_size=8, max_size=8).map(bytes.hex),
    sequence=st.integers(0, 2**64 - 1),
    hash=st.binary(min_size=tail.HASH_BYTES, max_size=tail.HASH_BYTES),
)


@settings(deadline=None)
@given(all_tokens, st.integers(0, 55))
def test_a_token_reads_back_is_safe_in_a_url_and_whole(token: tail.ResumeToken, length: int) -> None:
    text = tail.encode_token(token)
    assert tail.decode_token(text) == token
    assert re.fullmatch(r"[A-Za-z0-9_-]{56}", text)
    for wrong in (text[:length], f"{text}AAAA", f" {text}", f"{text}\n"):
        with pytest.raises(InvalidResumeToken):
            tail.decode_token(wrong)
    with pytest.raises(InvalidResumeToken, match="form 2"):
        tail.decode_token("Ag" + text[2:])


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_refused_as_a_bad_field(text: str) -> None:
    with pytest.raises(InvalidResumeToken) as refused:
        tail.decode_token(text)
    assert isinstance(refused.value, InvalidInput)
    assert refused.value.field == "resume_token"
    assert len(str(refused.value)) < 500


async def test_a_token_of_another_ledger_is_invalid(ledger: Ledger, tmp_path: Path) -> None:
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    await change(other, ledger_id=f"{1:032x}")  # empty ledgers in PostgreSQL are copies of one
    await other.close()
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    with pytest.raises(InvalidResumeToken, match="another ledger"):
        await ledger.resume_position(await token_of(other, 0))
    await other.close()


async def test_a_token_of_each_place_is_good_and_expires_beyond_the_newest_or_with_the_epoch(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(3)])
    tokens = [await token_of(ledger, place) for place in range(4)]
    assert [(await ledger.resume_position(token)).sequence for token in tokens] == list(range(4))
    for beyond in (4, 2**63, 2**64 - 1):
        with pytest.raises(ResumeTokenExpired, match="restored") as refused:
            await ledger.resume_position(ledger.token(ChainHead(beyond, bytes(32))))
        # By this code, clients of all languages know to begin anew without a token.
        assert (refused.value.category, refused.value.field) == ("OUT_OF_RANGE", "resume_token")
    await change(ledger, epoch="00000000000000ff")
    with pytest.raises(ResumeTokenExpired, match="restored"):
        await ledger.resume_position(tokens[1])


async def test_a_token_expires_with_its_entry_if_a_restore_kept_the_epoch(ledger: Ledger) -> None:
    """As by a database's own tools; formerly, a stream went on in the restored ledger and skipped entries."""
    await ledger.commit([issued(game(n)) for n in range(4)])
    before, of_kept, of_lost = [await token_of(ledger, place) for place in (0, 2, 4)]
    await ledger.write(lose_entries_after_2)
    with pytest.raises(ResumeTokenExpired):
        await ledger.resume_position(of_lost)
    await ledger.commit([issued(game(n)) for n in range(10, 14)])
    with pytest.raises(ResumeTokenExpired, match="before the ledger was restored"):
        await ledger.resume_position(of_lost)
    assert [(await ledger.resume_position(token)).sequence for token in (before, of_kept)] == [0, 2]


async def change(ledger: Ledger, **values: str) -> None:
    """Change the ledger's identity as a restore would."""
    put = ", ".join(f"{name} = :{name}" for name in values)
    await ledger.write(lambda connection: sql.rows(connection, f"UPDATE ledger SET {put}", **values))
