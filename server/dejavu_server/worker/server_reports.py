"""Tells the other servers of the ledger what this one counted, and knows what they told: once in a while, by no call.

Decision: docs/decisions/0054-all-servers.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple

import structlog

from dejavu_models.errors import DejavuError
from dejavu_server.api.operations_service import OperationsService
from dejavu_server.ledger import server_reports
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.observability.other_servers import KnownServer, OtherServers, ServerSample, UnreadableReport
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.observability.totals import ServerTotals
from dejavu_server.settings import Settings
from dejavu_server.streaming.ledger_manager import LedgerManager
from dejavu_server.worker.model_lifecycle import server_name
from dejavu_server.worker.sampler import COVERAGE_DAYS
from dejavu_server.worker.statistics import StatisticsReporter

READ_SECONDS: Final = 5.0
"""Interval at which a worker reads what the other servers told."""

STALE_SECONDS: Final = 20.0
"""Age from which what was read is not used: the ledger does not answer."""

_log = structlog.get_logger(__name__)


class _Read(NamedTuple):
    """A report of a server, as it was read.

    Attributes:
        seen: when it was written, by the database's clock.
        age: how long ago that was, in seconds.
        sample: what it says; None if it cannot be read.
    """

    seen: int
    age: float
    sample: ServerSample | None


class ServerReports(PeriodicTask):
    """Exchanges reports with the other servers of the ledger.

    Each worker reads them, and writes that of its server if it is time: of several workers, the first to find so. A
    ledger that cannot be read or written is asked again at the next turn, and no call waits for it.

    Args:
        ledger: the ledger.
        statistics: what the server counted.
        name: where the server runs.
        workers: how many workers it was started with.
    """

    def __init__(self, ledger: LedgerManager, statistics: StatisticsReporter, name: str, workers: int) -> None:
        super().__init__("server-reports", READ_SECONDS, self.exchange, at_once=True)
        self._ledger = ledger
        self._statistics = statistics
        self._name = name
        self._workers = workers
        self._own = ""  # identifies the run of this server; empty until the supervisor told
        self._reports: Mapping[str, _Read] = {}
        self._read = time.monotonic()
        self._missing = "they have not been read yet"
        self._failures = FailureLog(_log, failed="server_report_not_written", recovered="server_report_written")

    async def exchange(self) -> None:
        """Reads the reports, and then writes that of this server if it is time; the first time it only reads."""
        try:
            reports = await self._ledger.read(partial(_live, known=self._reports))
        except DejavuError as error:  # the ledger manager logs it
            self._reports, self._missing = {}, str(error)
            return
        started = bool(self._missing)
        self._reports, self._read, self._missing = reports, time.monotonic(), ""
        if not started:  # nor when the ledger has just come back: the calls that waited for it go first
            await self._report()

    async def _report(self) -> None:
        totals = self._statistics.whole_server()
        if totals is None:  # a part of its counts, told as if it were all, would be counted beside its last report
            return
        self._own = totals.server
        last = self._reports.get(totals.server)
        if last is not None and last.age < server_reports.REPORT_SECONDS - READ_SECONDS / 2:
            return
        state = self._sample(totals).encode()
        try:
            written = await self._ledger.write(
                partial(server_reports.report, server=totals.server, state=state), aside=True
            )
        except DejavuError as error:
            self._failures.failed(error, traceback=False, effect="the statistics of other servers lack this one")
            return
        if written:
            self._failures.succeeded()
        else:
            full = DejavuError(f"{server_reports.MAX_SERVERS} servers report already; expected fewer")
            self._failures.failed(full, traceback=False, effect="the statistics of other servers lack this one")

    def _sample(self, totals: ServerTotals) -> ServerSample:
        age = max(0.0, time.monotonic() - totals.monotonic)
        return ServerSample(name=self._name, configured_workers=self._workers, totals=totals, seconds_ago=age)

    def others(self) -> OtherServers:
        """Returns what is known of the other servers."""
        since = time.monotonic() - self._read
        if not self._missing and since >= STALE_SECONDS:
            return OtherServers((), f"the ledger has not answered for {since:.0f} s")
        servers: list[KnownServer] = []
        unreadable = 0
        for server, report in self._reports.items():
            age = report.age + since
            if server == self._own or age >= server_reports.REPORT_COUNTS.total_seconds():
                continue
            if report.sample is None:
                unreadable += 1
            else:
                servers.append(KnownServer(report.sample, age + report.sample.seconds_ago))
        missing = self._missing
        if unreadable and not missing:
            missing = f"the reports of {unreadable} servers cannot be read: they may run another release"
        servers.sort(key=lambda each: (each.sample.name, each.sample.totals.server))
        return OtherServers(tuple(servers), missing)


def _live(connection: Connection, known: Mapping[str, _Read]) -> dict[str, _Read]:
    """Returns the reports that count, by server. Those that are known are not decoded again."""
    reports: dict[str, _Read] = {}
    for each in server_reports.live(connection):
        before = known.get(each.server)
        is_new = before is None or before.seen != each.seen
        sample = _decode(each.state) if is_new or before is None else before.sample
        reports[each.server] = _Read(each.seen, each.age.total_seconds(), sample)
    return reports


def _decode(state: bytes) -> ServerSample | None:
    try:
        return ServerSample.decode(state)
    except UnreadableReport:
        return None


def start_statistics(
    stack: AsyncExitStack, settings: Settings, ledger: LedgerManager, statistics: StatisticsReporter
) -> OperationsService:
    """Starts to exchange reports with the other servers of the ledger; returns the service that tells of all.

    Args:
        stack: stops it.
        settings: settings of the worker.
        ledger: the ledger.
        statistics: what the server counted.
    """
    reports = ServerReports(ledger, statistics, server_name(), settings.workers)
    stack.push_async_callback(reports.close)
    reports.start()
    return OperationsService(
        statistics.server,
        reports.others,
        name=server_name(),
        workers=settings.workers,
        coverage_days=COVERAGE_DAYS,
        report_feed=statistics.report_feed,
    )
