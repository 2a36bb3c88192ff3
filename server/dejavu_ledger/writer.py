"""Writer thread with group commit: all calls that are queued go into one transaction.

Under load, many calls share the cost of a commit. A single call is committed at once, without waiting for others.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import structlog

from dejavu_common.activity import Activity
from dejavu_common.failure_log import FailureLog
from dejavu_ledger.database.backend import Backend, Connection, Query
from dejavu_ledger.entries.codec import PreparedForecast, PreparedShadow
from dejavu_ledger.errors import DiskReserveReached, LedgerError, LedgerUnavailable, copy_of, mebibytes_left
from dejavu_ledger.recording import Appended, KnownRecord, append_shadows, record_forecasts
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.errors import DejavuError
from dejavu_models.results import Result

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

MEBIBYTE = 1024 * 1024

_NOTHING = Appended(0, (), 0)

GROUP_SIZE = 2000
"""Forecast count at which a transaction takes no further calls; a call is never split."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A queued write: forecasts to record, shadows to record, or a function that writes.

    Attributes:
        answer: receives the result or the error.
        drafts: forecasts to record.
        shadows: shadows to record, in their own transaction.
        work: function to call in the transaction.
        alone: whether the call needs its own transaction.
    """

    answer: asyncio.Future[Any]
    drafts: Sequence[PreparedForecast] = ()
    shadows: Sequence[PreparedShadow] = ()
    work: Query[Any] | None = None
    alone: bool = False


class Writer:
    """Commits forecasts and other writes in groups, in the order of the calls, on its own thread.

    Create it, and call `submit` and `run`, in the event loop that waits for the answers.

    Args:
        backend: the database.
        on_commit: called in the event loop after each transaction that may have added entries, once its callers have
            their answers, with the added entries; with None if these are not known.
        limits: limits of a game's forecasts.

    Attributes:
        activity: progress of its thread.
    """

    def __init__(self, backend: Backend, on_commit: Callable[[Appended | None], None], limits: RecordingLimits) -> None:
        self._backend = backend
        self._limits = limits
        self._known = KnownRecord()
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._failure_log = FailureLog(_log, failed="ledger_commit_failed")
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.activity = Activity("ledger-writer", waiting=self._calls.qsize)
        self._lock = threading.Lock()  # prevents calls from being queued after the end marker
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, drafts: Sequence[PreparedForecast]) -> asyncio.Future[list[Result[IssuedForecast]]]:
        """Queue forecasts to record together. A call cancelled before its turn records nothing.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        answer: asyncio.Future[list[Result[IssuedForecast]]] = self._loop.create_future()
        self._put(_Call(answer, drafts))
        return answer

    def submit_shadows(self, shadows: Sequence[PreparedShadow]) -> asyncio.Future[list[ShadowForecast]]:
        """Queue shadows to record together. They come after all other calls that are queued by their turn.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        answer: asyncio.Future[list[ShadowForecast]] = self._loop.create_future()
        self._put(_Call(answer, shadows=shadows))
        return answer

    def run(self, work: Query[_T], *, alone: bool = False) -> asyncio.Future[_T]:
        """Queue a function that writes.

        Args:
            work: called in a transaction that holds the write lock; may be called again in another one after a failure.
            alone: whether to use a separate transaction.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._put(_Call(answer, work=work, alone=alone))
        return answer

    def _put(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the ledger is closed")
            self._calls.put(call)

    def close(self) -> None:
        """Commit the queued calls, then end the thread. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            group, last = self._gather(call, most=GROUP_SIZE)
            lost: LedgerUnavailable | None = None
            refused = list[_Call]()
            for part in _transactions(group):
                calls = [call for call in part if not call.answer.cancelled()]
                if lost is None:
                    with self.activity.task():
                        lost = self._commit(calls)
                    if lost is None:
                        continue
                    # Calls that wait for an unavailable ledger would wait as long again. They are taken from the queue
                    # before any call is answered, so that none of them was made because of an answer.
                    refused, ended = self._gather()
                    last = last or ended
                refused += calls
            if lost is not None:
                self._refuse(refused, lost)
            if last:
                break

    def _gather(self, *first: _Call, most: float = math.inf) -> tuple[list[_Call], bool]:
        """Return the first and the queued calls, up to `most` forecasts, and whether the end marker was reached."""
        group, size = [*first], sum(map(_size, first))
        while size < most:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is None:
                return group, True
            group.append(call)
            size += _size(call)
        return group, False

    def _refuse(self, calls: list[_Call], error: LedgerUnavailable) -> None:
        self._answer([(call.answer, None, copy_of(error)) for call in calls])

    def _commit(self, group: list[_Call]) -> LedgerUnavailable | None:
        """Commit calls and answer them; if the ledger is unavailable, return the error and leave them unanswered."""
        if not group:
            return None
        try:
            with self._backend.write() as connection:
                results = _write(connection, group, self._limits, self._refusal(), self._known)
        except Exception as error:
            # The transaction was rolled back. If the ledger is unavailable, single calls would fail as well. Other
            # errors may come from one call: retry the calls one by one, so that only that call fails.
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                for call in group:
                    if lost := self._commit([call]):
                        self._refuse([call], lost)
                return None
            if isinstance(error, LedgerUnavailable):
                return error
            self._answer([(call.answer, None, self._caller_error(error, call)) for call in group])
            return None
        # What work has added is not known.
        appended = None if any(call.work is not None for call in group) else self._known.appended
        self._answer([(call.answer, result, None) for call, result in zip(group, results, strict=True)], appended)
        if appended is None or appended.through > appended.after:
            self._backend.notify()  # only now: it takes as long as a small commit, and the callers wait
        return None

    def _answer(
        self, answers: list[tuple[asyncio.Future[Any], Any, Exception | None]], appended: Appended | None = _NOTHING
    ) -> None:
        """Answer all callers of a transaction in one turn of their event loop, because waking it costs most."""
        with suppress(RuntimeError):  # the loop has ended without closing the ledger: there is no caller left
            self._loop.call_soon_threadsafe(self._answer_in_loop, answers, appended)

    def _answer_in_loop(
        self, answers: list[tuple[asyncio.Future[Any], Any, Exception | None]], appended: Appended | None
    ) -> None:
        for future, result, error in answers:
            if future.done():  # cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if appended is None or appended.through > appended.after:
            self._on_commit(appended)

    def _refusal(self) -> DejavuError | None:
        """Return why no new forecast is recorded at the moment; None if forecasts are recorded."""
        reserve = self._limits.reserve_bytes
        free = self._backend.free_bytes() if reserve else None
        if free is None or free >= reserve:
            return None
        return DiskReserveReached(
            f"the disk of the ledger has {mebibytes_left(free)} MiB left, less than the reserve of "
            f"{reserve // MEBIBYTE:,} MiB: only outcomes are recorded"
        )

    def _caller_error(self, error: Exception, call: _Call) -> Exception:
        """Return the error for the caller. Unexpected errors are logged and not exposed to the caller."""
        if isinstance(error, LedgerError):
            return copy_of(error)
        if call.alone and isinstance(error, DejavuError):
            return error
        self._failure_log.failed(error, forecasts=len(call.drafts))
        return LedgerUnavailable("the ledger could not be written")


def _size(call: _Call) -> int:
    return max(1, len(call.drafts), len(call.shadows))


def _transactions(group: list[_Call]) -> Iterator[list[_Call]]:
    """Split the calls, in order, so that calls with `alone` get their own transaction, and shadows come last."""
    part: list[_Call] = []
    for call in group:
        if call.shadows:
            continue
        if call.alone:
            yield part
            yield [call]
            part = []
        else:
            part.append(call)
    yield part
    yield from ([call] for call in group if call.shadows)


def _write(
    connection: Connection, group: list[_Call], limits: RecordingLimits, refusal: DejavuError | None, known: KnownRecord
) -> list[Any]:
    """Execute the calls in order, recording the drafts of adjacent calls together; return their results."""
    if shadows := group[0].shadows:
        return [append_shadows(connection, shadows, known, full=refusal is not None)]
    results: list[Any] = []
    for work, calls in groupby(group, key=lambda call: call.work):
        adjacent = list(calls)
        if work is not None:
            results += [work(connection) for _ in adjacent]
            continue
        drafts = [draft for call in adjacent for draft in call.drafts]
        recorded = record_forecasts(connection, drafts, known, limits, refusal)
        end = 0
        for call in adjacent:
            start, end = end, end + len(call.drafts)
            results.append(recorded[start:end])
    return results
