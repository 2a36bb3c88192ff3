"""Prometheus metrics of the whole server, at /metrics: the workers' figures added up, and the supervisor's own.

The workers keep their figures in files of one temporary folder (prometheus_client's multiprocess mode). Counters of a
worker that died stay, so that no total ever falls; what it was doing when it died no longer counts.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from dejavu_server.settings import Address

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client in a worker where the files are to lie."""


class Exposition:
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
        if folder is not None:
            MultiProcessCollector(self.registry, path=str(folder))  # type: ignore[no-untyped-call]  # no types there

    def worker_serves(self) -> None:
        """Counts a worker that began to serve."""
        self._serving.inc()

    def worker_died(self, pid: int, *, asked: bool) -> None:
        """Counts a worker that had served and is gone, whether or not it was asked to go."""
        self._serving.dec()
        if not asked:
            self._deaths.inc()
        if self.folder is not None:
            mark_process_dead(pid, path=str(self.folder))  # type: ignore[no-untyped-call]  # no types there


@contextlib.contextmanager
def exposition(listen: Address | None) -> Iterator[Exposition]:
    """Serves metrics on an address (port 0 takes a free one), or only counts where there is none.

    Raises:
        OSError: if the address can't be bound.
    """
    if listen is None:
        yield Exposition()
        return
    with tempfile.TemporaryDirectory(prefix="dejavu-metrics-") as folder:
        figures = Exposition(Path(folder))
        server, thread = start_http_server(listen.port, listen.host, figures.registry)
        try:
            figures.address = Address(listen.host, server.server_port)
            yield figures
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
