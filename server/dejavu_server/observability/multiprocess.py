"""Prometheus metrics of the whole server, at /metrics: the workers' figures added up, and the supervisor's own.

The workers keep their figures in files of one temporary folder (prometheus_client's multiprocess mode). Counters of a
worker that died stay, so that no total ever falls; what it was doing when it died no longer counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from dejavu_server.observability.metrics_server import served
from dejavu_server.settings import Address

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client in a worker where the files are to lie."""

_PREFIX = "dejavu-metrics-"


class SupervisorMetrics:
    """What the supervisor counts, and where the workers are to count.

    Attributes:
        folder: for the workers' files; None where metrics are not served.
        address: where metrics are served; None where they are not.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.address: Address | None = None
        self.registry = CollectorRegistry()
        self._serving = Gauge("dejavu_workers", "Workers that serve.", registry=self.registry)
        self._deaths = Counter("dejavu_worker_deaths", "Workers that died unasked.", registry=self.registry)
        self._failed_starts = Counter(
            "dejavu_worker_starts_failed", "Workers that did not come to serve.", registry=self.registry
        )
        self._reloads = Counter(
            "dejavu_reloads", "Rolling restarts, by outcome (done, failed).", ["outcome"], registry=self.registry
        )
        for outcome in ("done", "failed"):  # a counter that is there from the start shows its first step
            self._reloads.labels(outcome)
        if folder is not None:
            MultiProcessCollector(self.registry, path=str(folder))  # type: ignore[no-untyped-call]  # no types there

    def worker_serves(self) -> None:
        """Counts a worker that began to serve."""
        self._serving.inc()

    def worker_ended(self, pid: int, *, served: bool, asked: bool) -> None:
        """Counts a worker that is gone.

        Args:
            pid: its process id.
            served: whether it had come to serve.
            asked: whether it was asked to go.
        """
        if served:
            self._serving.dec()
            if not asked:
                self._deaths.inc()
        if self.folder is not None:
            mark_process_dead(pid, path=str(self.folder))  # type: ignore[no-untyped-call]  # no types there
            if not served:  # and so counted nothing: starts that fail for days must not fill the disk
                for path in self.folder.glob(f"*_{pid}.db"):
                    path.unlink(missing_ok=True)

    def start_failed(self) -> None:
        """Counts a worker that did not come to serve."""
        self._failed_starts.inc()

    def reloaded(self, outcome: Literal["done", "failed"]) -> None:
        """Counts a rolling restart."""
        self._reloads.labels(outcome).inc()


@contextlib.contextmanager
def supervisor_metrics(listen: Address | None) -> Iterator[SupervisorMetrics]:
    """Serves metrics on an address (port 0 takes a free one), or only counts where there is none.

    Raises:
        OSError: if the address can't be bound.
    """
    if listen is None:
        yield SupervisorMetrics()
        return
    with _folder() as folder:
        figures = SupervisorMetrics(folder)
        with served(figures.registry, listen) as figures.address:
            yield figures


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the workers' files, locked while it is in use; removes those of supervisors that were killed."""
    home = Path(tempfile.gettempdir())
    for left in home.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    # Under another name until it is locked: nobody must take it for one that was left.
    fresh = Path(tempfile.mkdtemp(prefix=".dejavu-", dir=home))
    lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = fresh.rename(home / f"{_PREFIX}{fresh.name.removeprefix('.dejavu-')}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
    finally:
        os.close(lock)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, in use, or being removed by somebody else
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        finally:
            os.close(lock)
