"""Asynchronous interface of the ledger for the rest of the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import structlog

from dejavu_common.activity import Activity
from dejavu_common.clock import utc_now
from dejavu_common.slots import FairSlots
from dejavu_common.tasks import Turns
from dejavu_ledger import outcomes, resume_tokens
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Backend, Connection, Durability, Query, StopSignal
from dejavu_ledger.database.backends import new_backend
from dejavu_ledger.database.recording_rules import DEFAULT_LIMITS, RecordingLimits
from dejavu_ledger.database.store import Identity
from dejavu_ledger.database_clock import check_clock
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.shadows import prepare
from dejavu_ledger.errors import (
    InvalidResumeToken,
    LedgerError,
    LedgerUnavailable,
    ReportedFailures,
    ResumeTokenExpired,
)
from dejavu_ledger.followers import Followers
from dejavu_ledger.queries import model_changes
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_ledger.recorder import MODEL_CHANGE, UNLIMITED, Recorder
from dejavu_ledger.records import IssuedForecast, ReportedOutcome, ShadowForecast, ShadowsRecorded
from dejavu_ledger.tail import TailReader
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


class Ledger:
    """Durable record of every forecast for a named game and every outcome, in one order across all writers.

    The key of a forecast is its game, horizon, minute, alpha, model version, pregame_margin and caller. Recording a key
    again with the pattern, teams, date and live inputs of its newest revision changes nothing; with others it adds the
    next revision. A forecast that comes late in its game is marked and does not count (see `store.append`). Once the
    outcome of the forecast is recorded, neither new forecasts nor revisions are recorded.

    Create it with `open` or `open_backend`, use it in one event loop and close it.

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
    ) -> None:
        self._backend = backend
        self._clock = clock
        self.identity = identity
        self._on_failure = on_failure
        self._followers = Followers(backend)
        self._writer = Writer(backend, self._followers.appended, limits)
        # Changes other than a few forecasts go to the writer one at a time. Otherwise a caller that repeats them would
        # keep the writer, and the write lock, from the forecasts of all others.
        self._changing = FairSlots(1)
        self._of_batches = Counter[str]()  # forecasts of each caller's batches that did not wait for its turn
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-reader")
        self._reading = Activity("ledger-reader", may_run_long=True)
        self.activities = (self._writer.activity, self._reading)
        self._roster = KnownRoster()
        self._closed = False
        self._reporting_failures = ReportedFailures(self._report)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        durability: Durability = Durability.PROCESS,
        make: bool = True,
        on_failure: Callable[[LedgerError], None] | None = None,
        limits: RecordingLimits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = utc_now,
    ) -> Ledger:
        """Open the ledger at a URL (see url.py); create it if needed, with the folder of a file.

        Any number of processes may open it concurrently. A failure leaves an existing ledger unchanged, or an empty
        file.

        Args:
            url: URL of the ledger.
            durability: durability of a committed forecast.
            make: whether to create the ledger and its folder if they do not exist.
            on_failure: called in the event loop with every error that makes a later read or write fail.
            limits: limits of a game's forecasts.
            clock: returns the current time, aware and in UTC, which is compared with that of the database.

        Raises:
            InvalidLedgerUrl: if the URL cannot name a ledger.
            LedgerSchemaError: if a later release wrote the database, or it is not a ledger.
            LedgerUnavailable, LedgerCorrupt: if it cannot be opened.
        """
        backend = new_backend(url, durability)
        return await cls.open_backend(backend, make=make, on_failure=on_failure, limits=limits, clock=clock)

    @classmethod
    async def open_backend(
        cls,
        backend: Backend,
        *,
        make: bool = True,
        on_failure: Callable[[LedgerError], None] | None = None,
        limits: RecordingLimits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = utc_now,
    ) -> Ledger:
        """Open the ledger in a database; see `open`. Closes the database if that fails.

        Raises:
            LedgerSchemaError, LedgerUnavailable, LedgerCorrupt: if it cannot be opened.
        """

        def identity() -> Identity:
            try:
                backend.open(make=make)
                with backend.write() as connection:
                    check_clock(connection, clock())
                    return store.identity(connection)
            except BaseException:
                backend.close()
                raise

        return cls(backend, await asyncio.to_thread(identity), on_failure, limits, clock)

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
        drafts = await Turns().map(codec.prepare, issued)
        entries = [(each.game_id, len(draft.payload)) for each, draft in zip(issued, drafts, strict=True)]
        with recorder.reserved(entries) as unused, self._reporting_failures:
            async with self._turn(recorder.caller, len(drafts)):
                results = await self._writer.submit(drafts)
            for entry, each, result in zip(entries, issued, results, strict=True):
                if isinstance(result, Failed) or result.generated_time != each.generated_time:  # it was known
                    unused.append(entry)
        return results

    @contextlib.asynccontextmanager
    async def _turn(self, caller: str, number: int) -> AsyncIterator[None]:
        """Wait for a caller's turn to record a number of forecasts, if it records more than a few at once."""
        if number > 1 and self._of_batches[caller] + number > FEW:
            async with self._changing.held(caller):
                yield
            return
        of_batch = number if number > 1 else 0
        self._of_batches[caller] += of_batch
        try:
            yield
        finally:
            self._of_batches[caller] -= of_batch
            if not self._of_batches[caller]:
                del self._of_batches[caller]

    async def record_outcome(
        self, outcome: ReportedOutcome, recorder: Recorder = UNLIMITED, *, correct: bool = True
    ) -> tuple[ReportedOutcome, int]:
        """Record an outcome, which settles every forecast of its game and horizon; durable when this returns.

        Reporting the differential of the newest revision again, with its teams or none, changes nothing. Other values
        add the next revision.

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
            The revision that withdraws it, and the number of forecasts that it had settled.

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
        start = datetime.now(UTC)
        with recorder.reserved([entry]) as unused:
            with self._reporting_failures:
                answer = await self._change(change, recorder.caller, alone=False)
            if isinstance(answer, Failed):
                raise answer.error
            if answer[0].recorded_time < start:  # it was known
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
            DejavuError: if it exceeds the quota of the recorder.
            DejavuError: if it is not possible (`Roster.check`), or if `prepare` raises one.
        """
        with recorder.reserved([MODEL_CHANGE]) as unused:
            change = partial(model_changes.change_models, prepare=prepare, known=self._roster)
            roster, recorded = await self.write(change, recorder.caller)
            if recorded is None:
                unused.append(MODEL_CHANGE)
        return roster, recorded

    async def record_shadows(self, shadows: Sequence[ShadowForecast]) -> ShadowsRecorded:
        """Record shadow forecasts; durable when this returns.

        Returns:
            The recorded shadows, and the number of the others by reason.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if the write failed; then none of them is recorded.
            ValueError: if one cannot be encoded.
        """
        if not shadows:
            return ShadowsRecorded((), {})
        prepared = await Turns().map(prepare, shadows)
        with self._reporting_failures:
            return await self._writer.submit_shadows(prepared)

    async def write(self, change: Query[_T], caller: str = "", *, aside: bool = False) -> _T:
        """Return the result of a change, in its own transaction that holds the write lock.

        Args:
            change: the change. It may be called more than once, and must not write entries: use the methods for their
                kinds.
            caller: name of the caller whose turn it takes; see `Recorder`.
            aside: whether nobody waits for it, so that a failure is not reported.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be written.
        """
        with contextlib.nullcontext() if aside else self._reporting_failures:
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
        with self._reporting_failures:
            return await self._in_reader(partial(self._read_now, query, stop))

    async def read_after(self, sequence: int, limit: int) -> list[IssuedForecast | ReportedOutcome]:
        """Return the first `limit` forecasts and outcomes after a sequence, in order."""
        return await self.read(lambda connection: store.read_after(connection, sequence, limit))

    async def head(self) -> int:
        """Return the sequence of the newest entry; 0 if there is none."""
        return await self.read(lambda connection: store.head(connection).sequence)

    async def newest(self) -> int:
        """Return the sequence of the newest forecast or outcome; 0 if there is none."""
        return await self.read(store.newest)

    def token(self, sequence: int) -> str:
        """Return the token that resumes a stream right after a sequence."""
        return resume_tokens.encode(resume_tokens.ResumeToken(self.identity.ledger_id, self.identity.epoch, sequence))

    async def resume_position(self, token: str) -> int:
        """Return the sequence after which a token's stream resumes.

        Raises:
            InvalidResumeToken: if it is not a token, or a token of another ledger.
            ResumeTokenExpired: if the ledger was restored since.
        """
        requested = resume_tokens.decode(token)
        # Read the identity again: another process may have renewed the epoch.
        identity, head = await self.read(
            lambda connection: (store.identity(connection), store.head(connection).sequence)
        )
        if requested.ledger_id != identity.ledger_id:
            raise InvalidResumeToken(f"{quoted(token)}, of another ledger", "a resume_token of this server's ledger")
        if requested.epoch != identity.epoch or requested.sequence > head:
            raise ResumeTokenExpired(f"{quoted(token)}, issued before the ledger was restored")
        return requested.sequence

    async def tail(
        self, after: int, *, poll_seconds: float = 1.0, reader: TailReader | None = None
    ) -> AsyncGenerator[list[IssuedForecast | ReportedOutcome], None]:
        """Yield pages of every forecast and outcome after a sequence, in order, without end, as they are committed.

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

    async def check(self) -> None:
        """Check that the ledger's files are still at the path where they were opened, and the clocks agree.

        Raises:
            LedgerReplaced: if its files were removed or replaced.
            LedgerClockDiffers: if the clocks of server and database differ too much.
        """
        await self._in_reader(self._check_now)

    def _check_now(self) -> None:
        self._backend.check()
        with self._backend.read() as connection:
            check_clock(connection, self._clock())

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

    def _report(self, error: LedgerError) -> None:
        if self._on_failure is not None and not self._closed:
            self._on_failure(error)

    def _read_now(self, query: Query[_T], stop: StopSignal | None) -> _T:
        with self._backend.read(stop) as connection:
            return query(connection)
