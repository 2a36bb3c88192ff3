"""Sets the metrics that are states rather than counts, at intervals instead of at every call.

A few indexed statements read the ledger once a second. Figures of settled forecasts are recomputed only after another
outcome, once a minute at most, by one worker of a server.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dejavu_common.clock import game_day, microseconds
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries import learning, scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.errors import DejavuError
from dejavu_models.scorecard.settled import Exclusion
from dejavu_models.types import Horizon
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.streaming.ledger_manager import LedgerManager

SAMPLE_SECONDS = 1.0
"""Interval between two samples of queue and ledger."""

BACKUP_SECONDS = 30.0
"""Interval between two looks at the folder of backups."""

COVERAGE_SECONDS = 60.0
"""Shortest interval between two computations of the coverage."""

_SEEN_ENTRIES = 100
"""Maximum number of samples of the ledger that are remembered while the streams are behind."""

COVERAGE_DAYS = 30
"""Number of days whose games the coverage is computed from: more than 200 games during a season."""


class _LedgerStatus(NamedTuple):
    """Result of one sample of the ledger.

    Attributes:
        newest: sequence of the newest forecast or outcome.
        pending: number of reported outcomes that the models have not learned from.
        unsigned_since_us: see `checkpoints.unsigned_since_us`.
    """

    newest: int
    pending: int
    unsigned_since_us: int | None


class MetricsSampler:
    """Samples the state of a worker.

    Args:
        metrics: metrics of the worker.
        batcher: has the queue.
        ledger: has ledger and streams.
        updater: teaches the models.
        sample_calls: sets the metric of the calls in progress.
        backups: folder of the ledger's backups; None: their age is not sampled.
        model: returns the version of the active model, empty if it is not known; None: no coverage is computed.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        metrics: Metrics,
        batcher: Batcher,
        ledger: LedgerManager,
        updater: OnlineUpdater,
        *,
        sample_calls: Callable[[], None],
        backups: Path | None,
        model: Callable[[], str] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._metrics = metrics
        self._batcher = batcher
        self._ledger = ledger
        self._updater = updater
        self._sample_calls = sample_calls
        self._backups = backups
        self._model = model
        self._clock = clock
        self._covered: tuple[str, scorecards.ScoresPosition] | None = None
        self._unsigned_since: float | None = None
        self._seen = deque[tuple[int, float]](maxlen=_SEEN_ENTRIES)
        self._tasks: list[PeriodicTask] = []

    def start(self) -> None:
        """Start tasks that sample now, and then at intervals."""
        self._repeat("queue-sampler", SAMPLE_SECONDS, self._sample_queue)
        self._repeat("ledger-sampler", SAMPLE_SECONDS, self.sample_ledger)
        if self._backups is not None:
            self._repeat("backup-sampler", BACKUP_SECONDS, partial(self._sample_backups, self._backups))
        if self._model is not None:
            self._repeat("coverage-sampler", COVERAGE_SECONDS, self.sample_coverage)

    async def close(self) -> None:
        """Stop sampling. Safe to call more than once."""
        for task in self._tasks:
            await task.close()

    def _repeat(self, name: str, seconds: float, sample: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            with suppress(DejavuError):  # the ledger manager logs it and has a metric for it
                await sample()

        task = PeriodicTask(name, seconds, run, at_once=True)
        task.start()
        self._tasks.append(task)

    async def _sample_queue(self) -> None:
        self._metrics.waiting.set(self._batcher.unanswered)
        self._sample_calls()

    async def _sample_backups(self, folder: Path) -> None:
        self._metrics.backup_time.set(await asyncio.to_thread(_newest_time, folder))

    async def sample_ledger(self) -> None:
        """Set the lags of streams and models, and the age of the newest checkpoint.

        Raises:
            LedgerError: if the ledger can't be read; the metrics then keep their values.
        """
        position, reported = self._ledger.stream_position, self._updater.reported
        status = await self._ledger.current().read(partial(_status, reported=reported))
        if position is not None:  # read before `newest`, so entries recorded in between count as lag
            self._metrics.stream_lag.set(max(0, status.newest - position))
            self._metrics.stream_lag_seconds.set(self._stream_lag_seconds(position, status.newest))
        self._metrics.learner_lag.set(status.pending)
        self._metrics.checkpoint_age.set(self._checkpoint_age(status.unsigned_since_us))

    def _stream_lag_seconds(self, position: int, newest: int) -> float:
        """Return the age of the oldest known entry that was not offered to the streams."""
        now = time.monotonic()
        while self._seen and self._seen[0][0] <= position:
            self._seen.popleft()
        if newest > position and (not self._seen or newest > self._seen[-1][0]):
            if len(self._seen) == _SEEN_ENTRIES:  # keep the first: it is as old as the lag
                self._seen.pop()
            self._seen.append((newest, now))
        return now - self._seen[0][1] if self._seen else 0.0

    def _checkpoint_age(self, unsigned_since_us: int | None) -> float:
        """Return the age of the newest checkpoint, 0 if it covers the head.

        Without any checkpoint, return the time since an unsigned entry was first seen.
        """
        now = microseconds(self._clock()) / 1e6
        if unsigned_since_us is None:
            self._unsigned_since = None
            return 0.0
        if self._unsigned_since is None:
            self._unsigned_since = now
        return max(0.0, now - (unsigned_since_us / 1e6 or self._unsigned_since))

    async def sample_coverage(self) -> None:
        """Set the coverage of recent games' intervals, if another outcome was recorded or another model answers.

        Raises:
            LedgerError: if the ledger can't be read; the metrics then keep their values.
        """
        model = "" if self._model is None else self._model()
        position = await self._ledger.current().read(scorecards.position)
        if not model or self._covered == (model, position):
            return
        if self._covered is not None and self._covered[0] != model:
            for horizon in Horizon:  # labels cannot be removed in several processes
                self._metrics.coverage.labels(self._covered[0], horizon.value).set(float("nan"))
        first_day = game_day(self._clock()).toordinal() - COVERAGE_DAYS
        for horizon in Horizon:
            filter_ = ScoreFilter(horizon=horizon, model_version=model, first_day=first_day)
            covered, nominal, games, forecasts = await self._ledger.current().read(partial(_coverage, filter_=filter_))
            self._metrics.coverage.labels(model, horizon.value).set(covered)
            self._metrics.nominal_coverage.labels(model, horizon.value).set(nominal)
            self._metrics.coverage_games.labels(model, horizon.value).set(games)
            self._metrics.coverage_forecasts.labels(model, horizon.value).set(forecasts)
        self._covered = (model, position)


def _status(connection: Connection, reported: int | None) -> _LedgerStatus:
    pending = 0 if reported is None else learning.pending(connection, reported)
    return _LedgerStatus(store.newest(connection).sequence, pending, checkpoints.unsigned_since_us(connection))


def _coverage(connection: Connection, filter_: ScoreFilter) -> tuple[float, float, int, int]:
    """Return covered and nominal share (NaN without forecasts that count), number of games and of forecasts."""
    settled = scorecards.settled(connection, filter_).forecasts
    counted = settled.exclusion == Exclusion.NONE
    if not counted.any():
        return float("nan"), float("nan"), 0, 0
    games = len(np.unique(settled.game[counted]))
    covered, nominal = float(settled.covered[counted].mean()), float(1 - settled.alpha[counted].mean())
    return covered, nominal, games, int(counted.sum())


def _newest_time(folder: Path) -> float:
    """Return when the newest file of a folder was written, in seconds since 1970; 0 without any.

    An empty file is what a failed `pg_dump > FILE` leaves.
    """
    try:
        found = [file.stat() for file in folder.iterdir() if file.is_file()]
        return max((file.st_mtime for file in found if file.st_size), default=0.0)
    except OSError:  # as without backups: somebody has to look
        return 0.0
