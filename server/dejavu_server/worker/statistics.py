"""Shares what a worker counted with its supervisor, once a second, and knows what all workers of the server counted."""

from __future__ import annotations

import os
import platform
import secrets
import time
from importlib.metadata import version
from pathlib import Path

from dejavu_server.observability.counted import CountedMetrics
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.observability.shared_totals import TOTALS_SECONDS, WorkerFiles
from dejavu_server.observability.totals import MAX_FEEDS, FeedReport, ServerTotals, TotalsHistory, WorkerTotals


class StatisticsReporter(PeriodicTask):
    """Shares the totals of a worker. No call pays for it: the metrics are read at intervals.

    Args:
        metrics: metrics of the worker.
        name: name of the worker.
        folder: folder that the supervisor gave; None: the worker runs alone.
    """

    def __init__(self, metrics: Metrics, name: str, folder: Path | None) -> None:
        super().__init__("statistics", TOTALS_SECONDS, self.report, at_once=True)
        self._counted = CountedMetrics(metrics)
        self._name = name
        self._started = time.time()
        self._versions = {package: version(package) for package in ("dejavu-forecast", "grpcio")}
        self._versions["python"] = platform.python_version()
        self._files = None if folder is None else WorkerFiles(folder, os.getpid())
        self._history = TotalsHistory(secrets.token_hex(8), self._started, time.monotonic, time.time)
        self._alone = self._history.sum([])
        self._feeds: dict[str, FeedReport] = {}

    async def report(self) -> None:
        """Shares what was counted so far."""
        counts, levels, peaks, latest = self._counted.read()
        totals = WorkerTotals(
            name=self._name,
            started=self._started,
            versions=self._versions,
            counts=counts,
            levels=levels,
            peaks=peaks,
            latest=latest,
            feeds=self._feeds,
        )
        if self._files is not None:
            self._files.write(totals)
        self._alone = self._history.sum([totals])

    def report_feed(self, feed: str, report: FeedReport) -> None:
        """Keeps the newest report about a feed, of the MAX_FEEDS that were reported last."""
        self._feeds.pop(feed, None)
        self._feeds[feed] = report
        if len(self._feeds) > MAX_FEEDS:
            del self._feeds[next(iter(self._feeds))]

    async def close(self) -> None:
        """Ends the task, and shares the final counts."""
        await super().close()
        await self.report()

    def server(self) -> ServerTotals:
        """Returns what all workers of the server counted; only this one, if the supervisor does not tell."""
        return self.whole_server() or self._alone

    def whole_server(self) -> ServerTotals | None:
        """Returns what all workers of the server counted; None if the supervisor does not tell, or not any more."""
        return self._alone if self._files is None else self._files.server()
