"""The thread that writes: everything that waits when it turns to its queue goes into one transaction.

Under load this shares the price of a commit among many; alone, a commit starts at once and waits for nobody.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from dejavu_models.errors import DejavuError
from dejavu_server.ledger.database import sqlite, store
from dejavu_server.ledger.entries.codec import PreparedForecast
from dejavu_server.ledger.errors import LedgerError, LedgerUnavailable, OutcomeAlreadyRecorded, copy_of, database_errors
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.records import IssuedForecast

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

GROUP_SIZE = 2000
"""How many forecasts go into one transaction at the most, but for a single call that has more."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Something to be done in a transaction: drafts to be recorded, or else work of another kind."""

    answer: Future[Any]
    drafts: Sequence[PreparedForecast] = ()
    work: Callable[[Connection], Any] | None = None
    alone: bool = False


class Writer:
    """Commits forecasts and whatever else is written, in groups, in the order of the calls, on a thread of its own.

    Args:
        writing: an engine whose transactions hold the write lock (see `engine.writing`); closed by `close`.
        path: the database's.
        announce: called on the thread after each transaction that may have added something.
    """

    def __init__(self, writing: Engine, path: Path, announce: Callable[[], None]) -> None:
        self._engine = writing
        self._path = path
        self._announce = announce
        self._fault = FailureLog(_log, failed="ledger_commit_failed")
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # so that nothing is queued behind the end
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, drafts: Sequence[PreparedForecast]) -> Future[list[IssuedForecast | OutcomeAlreadyRecorded]]:
        """Queues forecasts to be recorded together. A call cancelled before its turn leaves no trace.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        answer: Future[list[IssuedForecast | OutcomeAlreadyRecorded]] = Future()
        self._put(_Call(answer, drafts))
        return answer

    def run(self, work: Callable[[Connection], _T], *, alone: bool = False) -> Future[_T]:
        """Queues something else that writes.

        Args:
            work: called in a transaction that holds the write lock; called again, in another one, if that failed.
            alone: whether the transaction is its own.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        answer: Future[_T] = Future()
        self._put(_Call(answer, work=work, alone=alone))
        return answer

    def _put(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the ledger is closed")
            self._calls.put(call)

    def close(self) -> None:
        """Commits what is queued, then ends the thread and closes the connections. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                group, last = self._gather(call)
                for part in _transactions(group):
                    self._commit([call for call in part if call.answer.set_running_or_notify_cancel()])
                if last:
                    break
        finally:
            self._engine.dispose()

    def _gather(self, first: _Call) -> tuple[list[_Call], bool]:
        """What waits, up to the group's size, and whether the end was among it."""
        group, size = [first], _size(first)
        while size < GROUP_SIZE:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is None:
                return group, True
            group.append(call)
            size += _size(call)
        return group, False

    def _commit(self, group: list[_Call]) -> None:
        if not group:
            return
        try:
            with database_errors(), self._engine.begin() as connection:
                files = sqlite.open_files(connection)
                files.check(self._path)  # what is removed or replaced is left alone
                answers = _write(connection, group)
            files.check(self._path)  # what went into files that were taken away meanwhile is not recorded
        except Exception as error:
            # Nothing of the transaction stands. What the database can't do now it can't do one by one either;
            # anything else may be one call's doing, and must then be that call's alone.
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                for call in group:
                    self._commit([call])
                return
            for call in group:
                call.answer.set_exception(self._known(error, call))
            return
        self._announce()
        for call, answer in zip(group, answers, strict=True):
            call.answer.set_result(answer)

    def _known(self, error: Exception, call: _Call) -> Exception:
        """What the caller is told: never a word of an error that is none of ours, which goes into the log."""
        if isinstance(error, LedgerError):
            return copy_of(error)
        if call.alone and isinstance(error, DejavuError):
            return error
        self._fault.failed(error, forecasts=len(call.drafts))
        return LedgerUnavailable("the ledger could not be written")


def _size(call: _Call) -> int:
    return max(1, len(call.drafts))


def _transactions(group: list[_Call]) -> Iterator[list[_Call]]:
    """The calls in their order, cut where one wants a transaction for itself."""
    part: list[_Call] = []
    for call in group:
        if call.alone:
            yield part
            yield [call]
            part = []
        else:
            part.append(call)
    yield part


def _write(connection: Connection, group: list[_Call]) -> list[Any]:
    """Does what the calls ask for, in their order; drafts of neighbours are recorded together. Their answers."""
    answers: list[Any] = []
    for work, calls in groupby(group, key=lambda call: call.work):
        together = list(calls)
        if work is not None:
            answers += [work(connection) for _ in together]
            continue
        recorded = store.append(connection, [draft for call in together for draft in call.drafts])
        end = 0
        for call in together:
            start, end = end, end + len(call.drafts)
            answers.append(recorded[start:end])
    return answers
