"""Asynchronous interface of the ledger for the rest of the server, and who records through it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Final, Protocol, TypeAlias, TypeVar

import structlog

from dejavu_common.activity import Activity
from dejavu_common.clock import utc_now
from dejavu_common.slots import FairSlots, Holdings
from dejavu_common.tasks import Turns
from dejavu_ledger import outcomes
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Backend, Connection, Durability, Query, StopSignal
from dejavu_ledger.database.backends import new_backend
from dejavu_ledger.database.sql import check_clock
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import InvalidResumeToken, LedgerError, LedgerReplaced, LedgerUnavailable, ResumeTokenExpired
from dejavu_ledger.queries import model_changes
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_ledger.records import IssuedForecast, ReportedOutcome, ShadowForecast
from dejavu_ledger.rules import DEFAULT_LIMITS, RecordingLimits
from dejavu_ledger.tail import HASH_BYTES, Followers, ResumeToken, TailReader, decode_token, encode_token
from dejavu_ledger.writer import Writer
from dejavu_models.errors import quoted
from dejavu_models.results import Failed, Result
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelChange, Roster

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

READERS = 6
"""Reader threads, each with its own connection: for the tail, two subscribers that catch up, a lookup, and two
scorecards or comparisons of models. Other reads take a millisecond, except those of the gatekeeper and of the coverage.
"""


FEW: Final = 32
"""Number of a caller's forecasts in batches that are recorded at once, beyond which a batch waits for its caller's turn
like other changes. A poller sends one batch at a time, with two forecasts of each game."""

_WITHDRAWAL_BYTES: Final = 1024
"""Bytes for which a withdrawal counts towards its caller's limit; the entry has fewer."""


MODELS: Final = ""
"""Stands for the game in an entry that changes models."""

MODEL_CHANGE: Final = MODELS, 4096
"""Game and bytes for which a change of models counts: about the size of its largest possible entry."""


class Recorder(Protocol):
    """The caller on whose behalf entries are recorded."""

    @property
    def turn(self) -> str:
        """Name by which callers take turns; empty for one that is not limited."""

    def reserved(self, entries: Sequence[tuple[str, int]]) -> contextlib.AbstractContextManager[list[tuple[str, int]]]:
        """Count entries (game or MODELS, size in bytes) while the block records them.

        If the block fails, no entry was recorded, and none counts. If it is cancelled, entries may still be recorded:
        they count.

        Returns:
            A context whose value is a list, to which the block adds the entries that turned out not to be recorded.
            Entering it raises a DejavuError if the entries exceed the caller's quota.
        """


class _Unlimited:
    turn = ""

    def reserved(self, _: Sequence[tuple[str, int]]) -> contextlib.AbstractContextManager[list[tuple[str, int]]]:
        return contextlib.nullcontext([])


UNLIMITED: Final[Recorder] = _Unlimited()
"""A recorder without limits, such as the server itself."""


class Ledger:
    """Durable record of every forecast for a named game and every outcome, in one order across all writers.

    One forecast counts for each game, horizon and second of play: the newest revision in time, of the game's owner.
    Recording it again with the same input changes nothing; with another it adds the next revision. The rules are those
    of `rules`. Once the outcome of the forecast is recorded, neither new forecasts nor revisions are recorded.

    Create it with `open`, use it in one event loop and close it.

    Attributes:
        identity: its identity, as read when it was opened.
        activities: progress of its threads.
    """

    def __init__(
        self,
        backend: Backend,
        identity: Identity,
        on_failure: Callable[[LedgerError], None] | None = None,
        limits: RecordingLimits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = utc_now,
        on_commit_seconds: Callable[[float], None] = lambda _: None,
        on_read_seconds: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self.identity = identity
        self._on_failure = on_failure
        self._on_commit_seconds = on_commit_seconds
        self._on_read_seconds = on_read_seconds
        self._followers = Followers(backend)
        self._writer = Writer(backend, self._followers.appended, limits)
        # Changes other than a few forecasts go to the writer one at a time. Otherwise a caller that repeats them would
        # keep the writer, and the write lock, from the forecasts of all others.
        self._changing = FairSlots(1)
        self._of_batches = Holdings()  # forecasts of each caller's batches that did not wait for its turn
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-reader")
        self._reading = Activity("ledger-reader", may_run_long=True)
        self.activities = (self._writer.activity, self._reading)
        self._roster = KnownRoster()
        self._closed = False

    @classmethod
    async def open(
        cls,
        ledger: str | Backend,
        *,
        durability: Durability = Durability.PROCESS,
        make: bool = True,
        on_failure: Callable[[LedgerError], None] | None = None,
        limits: RecordingLimits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = utc_now,
        on_commit_seconds: Callable[[float], None] = lambda _: None,
        on_read_seconds: Callable[[float], None] = lambda _: None,
    ) -> Ledger:
        """Open the ledger at a URL (see url.py) or in a database; create it if needed, with the folder of a file.

        Any number of processes may open it concurrently. A failure leaves an existing ledger unchanged, or an empty
        file, and closes the database.

        Args:
            ledger: URL of the ledger, or its database.
            durability: durability of a committed forecast, if the ledger is given by its URL.
            make: whether to create the ledger and its folder if they do not exist.
            on_failure: called in the event loop with every error that makes a later read or write fail.
            limits: limits of a game's forecasts.
            clock: returns the current time, aware and in UTC, which is compared with that of the database.
            on_commit_seconds: called with the time that a commit took, or until it failed.
            on_read_seconds: called with that of a read.

        Raises:
            InvalidLedgerUrl: if the URL cannot name a ledger.
            LedgerSchemaError: if another release wrote the database, or it is not a ledger.
            LedgerUnavailable, LedgerCorrupt: if it cannot be opened.
        """
        backend = new_backend(ledger, durability) if isinstance(ledger, str) else ledger

        def identity() -> Identity:
            try:
                backend.open(make=make)
                with backend.write() as connection:
                    check_clock(connection, clock())
                    return store.identity(connection)
            except BaseException:
                backend.close()
                raise

        found = await asyncio.to_thread(identity)
        return cls(backend, found, on_failure, limits, clock, on_commit_seconds, on_read_seconds)

    async def commit(
        self, issued: Sequence[IssuedForecast], recorder: Recorder = UNLIMITED
    ) -> list[Result[IssuedForecast]]:
        """Record forecasts, in one transaction with other pending writes; they are durable when this returns.

        A call cancelled before its turn records nothing. A call cancelled later is still recorded.

        Args:
            issued: the forecasts.
            recorder: the caller.

        Returns:
            A result for each forecast, in order: the forecast with its sequence and revision; the earlier one, if the
            newest revision of its key has the same pattern, teams, date and live inputs; or the reason why it was not
            recorded, which does not keep the others from being recorded.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if the write failed; then none of `issued` is recorded.
            DejavuError: if it exceeds the quota of the recorder.
            ValueError: if a forecast names no game or cannot be encoded.
        """
        if not issued:
            return []
        with _timed(self._on_commit_seconds):
            return await self._commit(issued, recorder)

    async def _commit(self, issued: Sequence[IssuedForecast], recorder: Recorder) -> list[Result[IssuedForecast]]:
        order = _order_of_play(issued)
        drafts = await Turns().map(codec.prepare, [issued[index] for index in order])
        entries = [(draft.issued.game_id, len(draft.payload)) for draft in drafts]
        with recorder.reserved(entries) as unused, self._reporting_failures():
            async with self._turn(recorder.turn, len(drafts)):
                results = await self._writer.submit(drafts)
            for entry, result in zip(entries, results, strict=True):
                if isinstance(result, Failed) or not result.created:
                    unused.append(entry)
        return [result for _, result in sorted(zip(order, results, strict=True), key=itemgetter(0))]

    @contextlib.asynccontextmanager
    async def _turn(self, caller: str, number: int) -> AsyncIterator[None]:
        """Wait for a caller's turn to record a number of forecasts, if it records more than a few at once."""
        if number > 1 and self._of_batches[caller] + number > FEW:
            async with self._changing.held(caller):
                yield
            return
        with self._of_batches.held(caller, number if number > 1 else 0):
            yield

    async def record_outcome(
        self, outcome: ReportedOutcome, recorder: Recorder = UNLIMITED, *, correct: bool = True
    ) -> tuple[ReportedOutcome, int]:
        """Record an outcome, which settles every forecast of its game and horizon; durable when this returns.

        What a report changes: see `outcomes.record_outcome`.

        Args:
            outcome: the outcome.
            recorder: the caller.
            correct: whether it may correct the current outcome.

        Returns:
            The outcome as recorded, and the number of forecasts that it settles.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be recorded.
            InvalidInput: if it contradicts the record of its game (see `outcomes.record_outcome`).
            OutcomeStands: if it would correct an outcome, and `correct` is false.
            GameFull: if its caller has made too many revisions of the outcome.
            DejavuError: if it exceeds the quota of the recorder.
            ValueError: if it names no game, ends a game in a tie, or cannot be encoded.
        """
        entry = outcome.game_id, len(codec.outcome_payload(outcome))  # raises ValueError here rather than in the writer
        return await self._change_outcome(
            entry,
            recorder,
            lambda connection: outcomes.record_outcome(connection, outcome, datetime.now(UTC), correct=correct),
        )

    async def withdraw_outcome(
        self, game_id: str, horizon: Horizon, recorded_by: str = "", recorder: Recorder = UNLIMITED
    ) -> tuple[ReportedOutcome, int]:
        """Withdraw an outcome, unless it is withdrawn already; durable when this returns.

        Args:
            game_id: the game.
            horizon: the horizon.
            recorded_by: identity of the caller; empty if it is not known.
            recorder: the caller, with its quota.

        Returns:
            The revision that withdraws it, and the number of forecasts of its game and horizon.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be recorded.
            UnknownOutcome: if none was ever reported.
            DejavuError: if it exceeds the quota of the recorder.
        """
        return await self._change_outcome(
            (game_id, _WITHDRAWAL_BYTES),
            recorder,
            lambda connection: outcomes.withdraw_outcome(connection, game_id, horizon, datetime.now(UTC), recorded_by),
        )

    async def _change_outcome(
        self, entry: tuple[str, int], recorder: Recorder, change: Query[Result[tuple[ReportedOutcome, int]]]
    ) -> tuple[ReportedOutcome, int]:
        """Run a change of an outcome; `entry`: its game, and the size of its entry in bytes."""
        with recorder.reserved([entry]) as unused:
            with self._reporting_failures():
                answer = await self._change(change, recorder.turn, alone=False)
            if isinstance(answer, Failed):
                raise answer.error
            if not answer[0].created:
                unused.append(entry)
        return answer

    async def change_models(
        self, prepare: Callable[[Connection, Roster], ModelChange], recorder: Recorder = UNLIMITED
    ) -> tuple[Roster, ModelChange | None]:
        """Append a change of models, unless the roster is already as it would leave it; durable when this returns.

        Args:
            prepare: returns the change, given the current roster, on a connection that holds the write lock; raises a
                DejavuError to prevent it. It may be called more than once. Time, sequence and the previous champion
                are filled in.
            recorder: the caller.

        Returns:
            The roster after it, and the change as recorded; None if nothing was recorded.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be recorded.
            DejavuError: if it exceeds the quota of the recorder, or is not possible (`Roster.check`, `prepare`).
        """
        with recorder.reserved([MODEL_CHANGE]) as unused:
            change = partial(model_changes.change_models, prepare=prepare, known=self._roster)
            roster, recorded = await self.write(change, recorder.turn)
            if recorded is None:
                unused.append(MODEL_CHANGE)
        return roster, recorded

    async def record_shadows(self, shadows: Sequence[ShadowForecast]) -> list[ShadowForecast]:
        """Record shadow forecasts; durable when this returns.

        Returns:
            The recorded shadows, in order; the others are inadmissible.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if the write failed; then none of them is recorded.
            ValueError: if one cannot be encoded.
        """
        if not shadows:
            return []
        prepared = await Turns().map(codec.prepare_shadow, shadows)
        with self._reporting_failures():
            return await self._writer.submit_shadows(prepared)

    async def write(self, change: Query[_T], caller: str = "") -> _T:
        """Return the result of a change, in its own transaction that holds the write lock.

        Args:
            change: the change. It may be called more than once, and must not write entries: use the methods for their
                kinds.
            caller: name of the caller whose turn it takes; see `Recorder`.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be written.
        """
        with self._reporting_failures():
            return await self._change(change, caller, alone=True)

    async def _change(self, change: Query[_T], caller: str, *, alone: bool) -> _T:
        """Run a change in its caller's turn."""
        async with self._changing.held(caller):
            return await self._writer.run(change, alone=alone)

    async def read(self, query: Query[_T], *, stop: StopSignal | None = None) -> _T:
        """Return the result of a query; each of its statements sees the newest commit.

        Args:
            query: the query, called on a reader thread.
            stop: ends the query early once it is set; cancelling this call does not end it.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if the ledger cannot be read.
            ReadStopped: if the query was stopped.
        """
        with _timed(self._on_read_seconds), self._reporting_failures():
            return await self._in_reader(partial(self._read_now, query, stop))

    async def read_after(self, sequence: int, limit: int) -> list[IssuedForecast | ReportedOutcome]:
        """Return the first `limit` forecasts of the games' owners, and outcomes, after a sequence, in order."""
        return await self.read(lambda connection: store.read_after(connection, sequence, limit))

    async def position(self) -> ChainHead:
        """Return sequence and hash of the newest entry; without entries, the start of the chain."""
        return await self.read(store.head)

    async def newest(self) -> ChainHead:
        """Return sequence and hash of the newest forecast or outcome; without any, the start of the chain."""
        return await self.read(store.newest)

    async def position_of(self, sequence: int) -> ChainHead | None:
        """Return sequence and hash of an entry; at 0, of the start of the chain; None if there is no such entry."""
        return await self.read(partial(store.entry_at, sequence=sequence))

    def token(self, position: ChainHead) -> str:
        """Return the token that resumes a stream right after a position."""
        beginning = position.hash[:HASH_BYTES]
        identity = self.identity
        token = ResumeToken(identity.ledger_id, identity.epoch, position.sequence, beginning)
        return encode_token(token)

    async def resume_position(self, token: str) -> ChainHead:
        """Return the position after which a token's stream resumes.

        Raises:
            InvalidResumeToken: if it is not a token, or a token of another ledger.
            ResumeTokenExpired: if the ledger was restored since: its epoch, or the entry of the token, is another one.
        """
        requested = decode_token(token)
        # Read the identity again: another process may have renewed the epoch.
        identity, position = await self.read(
            lambda connection: (store.identity(connection), store.entry_at(connection, requested.sequence))
        )
        if requested.ledger_id != identity.ledger_id:
            raise InvalidResumeToken(f"{quoted(token)}, of another ledger", "a resume_token of this server's ledger")
        same = position is not None and position.hash.startswith(requested.hash)
        if position is None or not same or requested.epoch != identity.epoch:
            raise ResumeTokenExpired(f"{quoted(token)}, issued before the ledger was restored")
        return position

    async def tail(
        self, after: int, *, poll_seconds: float = 1.0, reader: TailReader | None = None
    ) -> AsyncGenerator[list[IssuedForecast | ReportedOutcome], None]:
        """Yield pages of all forecasts of the games' owners, and outcomes, after a sequence, as they are committed.

        Close it (`contextlib.aclosing`) when done.

        Args:
            after: the sequence to start after.
            poll_seconds: polling interval without notifications.
            reader: while it is idle, entries of other processes are skipped; None: every entry is yielded.

        Raises:
            LedgerError: if the ledger cannot be read; LedgerCorrupt at an entry that cannot be decoded, because later
                entries could no longer be returned in order.
        """
        with self._followers.tail(self, after, reader) as tail:
            async with contextlib.aclosing(tail.pages(poll_seconds, lambda: self._closed)) as pages:
                async for page in pages:
                    yield page

    def listen(self, committed: asyncio.Event) -> None:
        """Set an event after every commit, of any process, that may have added more than forecasts, until closed."""
        self._followers.listen(committed)

    async def check(self, followed: ChainHead | None = None) -> timedelta:
        """Check that the ledger is still the one that was opened, with its epoch, and that the clocks agree.

        Args:
            followed: a position up to which it was read, whose entry it must still have; None without one.

        Returns:
            Time by which the server's clock is ahead of the database's; negative: behind.

        Raises:
            LedgerReplaced: if it was removed, replaced or restored.
            LedgerClockDiffers: if the clocks of server and database differ too much.
        """
        return await self._in_reader(partial(self._check_now, followed))

    def _check_now(self, followed: ChainHead | None) -> timedelta:
        self._backend.check()
        with self._backend.read() as connection:
            lost = followed is not None and store.entry_at(connection, followed.sequence) != followed
            if lost or store.identity(connection) != self.identity:
                raise LedgerReplaced("the ledger was replaced or restored while it was in use")
            return check_clock(connection, self._clock())

    async def free_bytes(self) -> int | None:
        """Return the space that the disk has left for the ledger, in bytes; None if it is not known."""
        return await self._in_reader(self._backend.free_bytes)

    async def size_bytes(self) -> int:
        """Return the size of the ledger, in bytes; 0 if it is not known."""
        return await self._in_reader(self._backend.size_bytes)

    async def probe(self, *, thorough: bool = False) -> None:
        """Test whether the ledger can be written, by a commit that changes nothing.

        Args:
            thorough: also read the whole file and check its structure.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it cannot be written or is damaged.
        """
        await self._in_reader(partial(self._probe_now, thorough))

    def _probe_now(self, thorough: bool) -> None:
        if thorough:
            with self._backend.read() as connection:
                self._backend.check_integrity(connection, thorough=False)
        self._backend.probe()

    async def close(self) -> None:
        """Commit pending writes and close the ledger. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._followers.close()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        self._writer.close()
        self._backend.close()

    async def _in_reader(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._reading.run, work)

    @contextlib.contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        """Report a LedgerError of the block, which then propagates to the caller."""
        try:
            yield
        except LedgerError as error:
            if self._on_failure is not None and not self._closed:
                self._on_failure(error)
            raise

    def _read_now(self, query: Query[_T], stop: StopSignal | None) -> _T:
        with self._backend.read(stop) as connection:
            return query(connection)


CurrentLedger: TypeAlias = Callable[[], Ledger]
"""Returns the open ledger; raises a LedgerError, the reason, if there is none."""


@contextlib.contextmanager
def _timed(on_seconds: Callable[[float], None]) -> Iterator[None]:
    """Report the time that a block took, also if it fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        on_seconds(time.perf_counter() - began)


def _order_of_play(issued: Sequence[IssuedForecast]) -> list[int]:
    """Return the indexes of forecasts as they are recorded: those of a game in the order of play.

    Otherwise an earlier second that comes after a later one in the same call would be late.
    """
    places: dict[str, list[int]] = {}
    for place, each in enumerate(issued):
        places.setdefault(each.game_id, []).append(place)
    order = dict[int, int]()
    for of_game in places.values():
        of_play = sorted(of_game, key=lambda place: issued[place].forecast.elapsed_seconds)
        order.update(zip(of_game, of_play, strict=True))
    return [order[place] for place in range(len(issued))]
