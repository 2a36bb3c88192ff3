"""Statistics of the server as a worker knows them: the supervisor's, or the worker's own if it is alone."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.observability.statistics import (
    SAMPLE_SECONDS,
    ServerStatistics,
    Statistics,
    StatisticsReader,
    WorkerStatistics,
    package_versions,
)


class StatisticsReporter(PeriodicTask):
    """Reports the statistics of the server. This costs calls no time: metrics are read at intervals.

    Args:
        metrics: metrics of the worker.
        name: name of the worker.
        folder: folder of the server; None: the worker is alone.
    """

    def __init__(self, metrics: Metrics, name: str, folder: Path | None) -> None:
        super().__init__("statistics", SAMPLE_SECONDS, self._sample)
        started, versions = time.time(), package_versions()
        self._own = Statistics(
            metrics.registry,
            secrets.token_hex(8),
            lambda: [WorkerStatistics.of(name, os.getpid(), started, versions)],
        )
        self._reader = None if folder is None else StatisticsReader(folder)

    async def _sample(self) -> None:
        self.server()

    def server(self) -> ServerStatistics:
        """Return the statistics of all workers of the server; of this worker only, if there is no supervisor."""
        return (None if self._reader is None else self._reader.read()) or self._own.sample()
