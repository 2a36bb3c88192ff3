"""Files by which the workers of a server share what they counted, in one folder in memory.

Each worker writes its totals to a file of its own, and the supervisor, which reads them all, writes their sums to one
more. Files are replaced, so that readers see whole ones. Supervisor and workers may be of different releases: what the
files hold may gain fields and names, and lose none. Decision: docs/decisions/0045-service-statistics.md.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from dejavu_common.files import atomic_replace
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.observability.multiprocess import locked_folder
from dejavu_server.observability.totals import ServerTotals, TotalsHistory, WorkerTotals

TOTALS_SECONDS: Final = 1.0
"""Interval at which workers share what they counted, and the supervisor sums it."""

STALE_SECONDS: Final = 15.0
"""Age from which the sums of a supervisor are not used: it hangs, or has been stopped."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - locked_folder creates a folder that only its owner can use
_PREFIX: Final = "dejavu-totals-"
_SERVER: Final = "server.json"
_WORKER: Final = "worker-{pid}.json"

_T = TypeVar("_T", bound=BaseModel)

_log = structlog.get_logger(__name__)


class SharedFile(Generic[_T]):
    """A file that one process replaces and others read; parsed again only when it was replaced.

    Args:
        path: the file.
        kind: type of its content.
    """

    def __init__(self, path: Path, kind: type[_T]) -> None:
        self._path = path
        self._kind = kind
        self._version: tuple[int, int] | None = None
        self._content: _T | None = None

    def read(self) -> _T | None:
        """Returns the newest content that can be used; None if there never was any."""
        with suppress(OSError, ValidationError):
            status = self._path.stat()
            version = status.st_ino, status.st_mtime_ns
            if version != self._version:
                self._content = self._kind.model_validate_json(self._path.read_bytes())
                self._version = version
        return self._content

    def write(self, content: _T) -> None:
        """Replaces the content.

        Raises:
            OSError: if it can't be written.
        """
        with atomic_replace(self._path, temporary=self._path.with_suffix(".new")) as new:
            new.write_text(content.model_dump_json())


class WorkerFiles:
    """A worker's side of the folder.

    Args:
        folder: the folder.
        pid: process id of the worker.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        self._own = SharedFile(folder / _WORKER.format(pid=pid), WorkerTotals)
        self._server = SharedFile(folder / _SERVER, ServerTotals)
        self._failures = FailureLog(_log, failed="totals_not_shared", recovered="totals_shared")

    def write(self, totals: WorkerTotals) -> None:
        """Shares what the worker counted; a failure is logged, and the next call tries again."""
        try:
            self._own.write(totals)
            self._failures.succeeded()
        except OSError as error:
            self._failures.failed(error, traceback=False, effect="the statistics of the server lack this worker")

    def server(self) -> ServerTotals | None:
        """Returns what all workers counted; None if the supervisor does not tell, or not any more."""
        totals = self._server.read()
        age = 0.0 if totals is None else time.monotonic() - totals.monotonic
        return totals if 0 <= age < STALE_SECONDS else None


class SupervisorFiles:
    """The supervisor's side of the folder: sums what the workers share.

    Args:
        folder: the folder; None: nothing is shared, and all methods do nothing.
        server: identifies the run of the server.
        clock: returns the time, in seconds of a clock that does not go back.
        wall_clock: returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        server: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._history = TotalsHistory(server or secrets.token_hex(8), wall_clock(), clock, wall_clock)
        self._workers: dict[int, SharedFile[WorkerTotals]] = {}
        self._failures = FailureLog(_log, failed="totals_not_shared", recovered="totals_shared")

    async def update(self) -> None:
        """Sums what the workers counted, and shares the sums; a failure is logged, and the next call tries again."""
        if self.folder is None:
            return
        try:
            for path in self.folder.glob(_WORKER.format(pid="*")):
                pid = int(path.stem.rpartition("-")[2])
                self._workers.setdefault(pid, SharedFile(path, WorkerTotals))
            totals = [read for file in self._workers.values() if (read := file.read()) is not None]
            SharedFile(self.folder / _SERVER, ServerTotals).write(self._history.sum(totals))
            self._failures.succeeded()
        except OSError as error:
            self._failures.failed(error, traceback=False, effect="the statistics of the server are those of one worker")

    def worker_ended(self, pid: int) -> None:
        """Keeps what a worker counted that has ended, once."""
        if self.folder is None:
            return
        path = self.folder / _WORKER.format(pid=pid)
        file = self._workers.pop(pid, None) or SharedFile(path, WorkerTotals)
        if (totals := file.read()) is not None:
            self._history.keep_ended(totals)
        with suppress(OSError):
            path.with_suffix(".new").unlink(missing_ok=True)  # of a worker that was killed as it wrote
            path.unlink(missing_ok=True)


@contextmanager
def shared_totals() -> Iterator[SupervisorFiles]:
    """Creates the folder and yields the supervisor's side; without a folder, if none can be created."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    with ExitStack() as stack:
        folder = None
        try:
            folder = stack.enter_context(locked_folder(_PREFIX, parent))
        except OSError as error:
            _log.warning("totals_not_shared", error=str(error), effect="GetServiceStats reports one worker only")
        yield SupervisorFiles(folder)
