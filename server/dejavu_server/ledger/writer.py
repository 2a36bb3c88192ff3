"""The thread that writes: everything that waits when it turns to its queue goes into one transaction.

Under load this shares the price of a commit among many; alone, a commit starts at once and waits for nobody.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Engine

from dejavu_server.ledger import engine, store
from dejavu_server.ledger.canonical import Draft
from dejavu_server.ledger.errors import LedgerError, LedgerUnavailable, afresh, database_errors
from dejavu_server.records import IssuedForecast
from dejavu_server.trouble import Trouble

_log = structlog.get_logger(__name__)

GROUP_SIZE = 2000
"""How many forecasts go into one transaction at the most, but for a single call that has more."""


@dataclass(frozen=True, slots=True)
class _Call:
    drafts: Sequence[Draft]
    answer: Future[list[IssuedForecast]]


class Writer:
    """Commits forecasts, in groups, on a thread of its own.

    Args:
        writing: an engine whose transactions hold the write lock (see `engine.writing`); closed by `close`.
        path: the database's.
        announce: called on the thread after each transaction that may have added something.
    """

    def __init__(self, writing: Engine, path: Path, announce: Callable[[], None]) -> None:
        self._engine = writing
        self._path = path
        self._announce = announce
        self._fault = Trouble(_log, failed="ledger_commit_failed")
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # so that nothing is queued behind the end
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, drafts: Sequence[Draft]) -> Future[list[IssuedForecast]]:
        """Queues forecasts to be recorded together. A call cancelled before its turn leaves no trace.

        Raises:
            LedgerUnavailable: if the writer was closed.
        """
        call = _Call(drafts, Future())
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the ledger is closed")
            self._calls.put(call)
        return call.answer

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
                self._commit([call for call in group if call.answer.set_running_or_notify_cancel()])
                if last:
                    break
        finally:
            self._engine.dispose()

    def _gather(self, first: _Call) -> tuple[list[_Call], bool]:
        """What waits, up to the group's size, and whether the end was among it."""
        group, size = [first], len(first.drafts)
        while size < GROUP_SIZE:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is None:
                return group, True
            group.append(call)
            size += len(call.drafts)
        return group, False

    def _commit(self, group: list[_Call]) -> None:
        if not group:
            return
        try:
            with database_errors(), self._engine.begin() as connection:
                files = engine.files(connection)
                files.check(self._path)  # what is removed or replaced is left alone
                answers = store.append(connection, [draft for call in group for draft in call.drafts])
            files.check(self._path)  # what went into files that were taken away meanwhile is not recorded
        except Exception as error:
            # Nothing of the transaction stands. What the database can't do now it can't do one by one either;
            # anything else may be one call's doing, and must then be that call's alone.
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                for call in group:
                    self._commit([call])
                return
            if isinstance(error, LedgerError):
                known = error
            else:
                self._fault.failed(error, forecasts=sum(len(call.drafts) for call in group))
                known = LedgerUnavailable("the ledger could not be written")
            for call in group:
                call.answer.set_exception(afresh(known))
            return
        self._announce()
        end = 0
        for call in group:
            start, end = end, end + len(call.drafts)
            call.answer.set_result(answers[start:end])
