"""Metrics of the whole server: the sum over the workers and the supervisor's own metrics, served at /metrics.

The processes of a server share a temporary folder. The workers keep their metrics in files in this folder
(prometheus_client's multiprocess mode). Counters of ended workers are kept in shared files, so totals never decrease,
however many workers end. Gauges of ended workers are dropped, except those whose most recent value counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, make_wsgi_app
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from dejavu_common.address import Address
from dejavu_common.files import atomic_replace
from dejavu_common.http_server import serve_wsgi
from dejavu_server.observability.worker_usage import ServingWorker, WorkerUsage

_log = structlog.get_logger(__name__)

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that sets the folder of prometheus_client's files in a worker."""

_PREFIX = "dejavu-server-"
_ENDED = "ended"
"""Replaces the process id in the names of the files that are shared by all ended workers."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - `_locked_folder` creates a folder that only its owner can use


class SupervisorMetrics:
    """Metrics of the supervisor, and the folder for the workers' metrics.

    Attributes:
        folder: folder that the processes of the server share.
        registry: the merged metrics of supervisor and workers.
        address: address that serves the metrics; None if they are not served.
        failed_starts: workers that failed to start.
        reloads: rolling restarts, by outcome (done, failed).
        last_reload: 1 if the last rolling restart failed, else 0.
        recycled: workers replaced because they used too much memory.
        hangs: workers killed because a part made no progress, by part.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address: Address | None = None
        self.registry = CollectorRegistry()
        self._serving = Gauge("dejavu_workers", "Workers that are serving.", registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        self._deaths = counter("dejavu_worker_deaths", "Workers that ended without being asked to.")
        self.failed_starts = counter("dejavu_worker_starts_failed", "Workers that failed to start.")
        self.reloads = counter("dejavu_reloads", "Rolling restarts, by outcome (done, failed).", ["outcome"])
        for outcome in ("done", "failed"):  # start at 0, so that the first increment is visible
            self.reloads.labels(outcome)
        last_reload = "1 if the last rolling restart failed, else 0."
        self.last_reload = Gauge("dejavu_last_reload_failed", last_reload, registry=self.registry)
        self.recycled = counter("dejavu_workers_recycled", "Workers replaced because they used too much memory.")
        self.hangs = counter("dejavu_worker_hangs", "Workers killed because a part made no progress.", ["part"])
        for part in ("loop", "compute", "ledger-writer", "ledger-reader"):
            self.hangs.labels(part)
        self._changing = threading.Lock()
        _WorkersCollector(self.registry, folder, self._changing)

    def watch(self, workers: Callable[[], Iterable[ServingWorker]]) -> None:
        """Also serve versions and resource usage of the workers.

        Args:
            workers: returns the workers that serve; called on the threads that answer scrapes.
        """
        self.registry.register(WorkerUsage(workers))

    @contextlib.contextmanager
    def served(self, listen: Address) -> Iterator[None]:
        """Serve the metrics during the block; port 0 picks a free one, and sets `address`.

        Raises:
            OSError: if the address cannot be bound.
        """
        with serve_wsgi(make_wsgi_app(self.registry), listen, warn=_log.warning) as self.address:
            yield

    def worker_serves(self) -> None:
        """Count a worker that started to serve."""
        self._serving.inc()

    def worker_ended(self, pid: int, *, served: bool, asked: bool) -> None:
        """Count a worker that has ended.

        Args:
            pid: its process id.
            served: whether it had started to serve.
            asked: whether it was asked to end.
        """
        if served:
            self._serving.dec()
            if not asked:
                self._deaths.inc()
        with self._changing:
            mark_process_dead(pid, path=str(self.folder))  # type: ignore[no-untyped-call]  # no types there
            for path in list(self.folder.glob(f"*_{pid}.db")):
                if served:
                    _keep_ended(path)
                else:  # it counted nothing, and repeated failed starts must not fill the disk
                    path.unlink(missing_ok=True)


class _WorkersCollector(MultiProcessCollector):
    """Reads the files; reads them again if a file is removed meanwhile, because its worker failed to start.

    Args:
        registry: the registry to add it to.
        folder: folder of the files.
        changing: held while files of workers that have ended are changed.
    """

    def __init__(self, registry: CollectorRegistry, folder: Path, changing: threading.Lock) -> None:
        self._changing = changing
        super().__init__(registry, path=str(folder))  # type: ignore[no-untyped-call]  # no types there

    def collect(self) -> list[Metric]:
        while True:
            with contextlib.suppress(FileNotFoundError), self._changing:
                return list(super().collect())  # type: ignore[no-untyped-call]  # no types there


def _keep_ended(path: Path) -> None:
    """Merge the file of an ended worker into the file of all ended workers; leave it in place if the disk is full."""
    kind = path.name.rpartition("_")[0]
    ended = path.with_name(f"{kind}_{_ENDED}.db")
    try:
        content = _joined([each for each in (ended, path) if each.exists()], newest=kind.startswith("gauge"))
        with atomic_replace(ended, temporary=ended.with_suffix(".new")) as new:
            new.write_bytes(content)
        path.unlink()
    except OSError as error:
        _log.warning("metrics_not_joined", file=path.name, error=str(error))
    except (RuntimeError, ValueError, struct.error) as error:  # damaged: while it is there, no metrics can be read
        path.unlink(missing_ok=True)
        _log.warning("metrics_lost", file=path.name, error=str(error))


def _joined(paths: Iterable[Path], *, newest: bool) -> bytes:
    """Return the content of one file with the sums, or the newest, of the values of several files.

    The file is not written by prometheus_client, which maps files into memory: on a full disk, this would end the
    process.
    """
    values: dict[str, tuple[float, float]] = {}
    for path in paths:
        for key, value, at, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]  # no types there
            known, since = values.get(key, (0.0, 0.0))
            values[key] = ((value, at) if at >= since else (known, since)) if newest else (known + value, at)
    entries = []
    for key, (value, at) in values.items():
        text = key.encode()
        padded = text + b" " * (8 - (len(text) + 4) % 8)
        entries.append(struct.pack(f"i{len(padded)}sdd", len(text), padded, value, at))
    content = b"".join(entries)
    return struct.pack("ii", 8 + len(content), 0) + content


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """Create a locked folder; remove those left by supervisors that were killed.

    It is in TMPDIR if that is set, or else in memory if possible: a few files are written to every second.

    Raises:
        OSError: if it can't be created.
    """
    in_memory = "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK | os.X_OK)
    parent = _MEMORY if in_memory else Path(tempfile.gettempdir())
    for leftover in parent.glob(f"{_PREFIX}*"):
        _remove_if_leftover(leftover)
    # Created under another name until it is locked, so that no other supervisor removes it as a leftover.
    created = Path(tempfile.mkdtemp(prefix=".dejavu-", dir=parent))
    lock = os.open(created, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = created.rename(parent / f"{_PREFIX}{created.name.removeprefix('.dejavu-')}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
    finally:
        os.close(lock)


def _remove_if_leftover(folder: Path) -> None:
    with contextlib.suppress(OSError):  # owned by another user, in use, or being removed by another supervisor
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        finally:
            os.close(lock)
