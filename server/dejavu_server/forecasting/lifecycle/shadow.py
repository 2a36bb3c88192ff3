"""Makes the shadow forecasts of challengers, without delaying callers.

Recorded forecasts enter a bounded queue after they were answered. A task takes small groups from it, has every other
model forecast the same queries, and records these shadows together. After each group it rests for nine times as long as
the group took, so it takes at most a tenth of a worker's time. If the queue is full, its oldest forecast is dropped and
counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from dejavu_common.clock import utc_now
from dejavu_common.failure_log import FailureLog
from dejavu_common.tasks import BackgroundTask
from dejavu_feed.game_ids import is_playoffs
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_models.errors import DejavuError
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.forecaster import Forecaster
from dejavu_models.results import Failed
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.observability.metrics import Metrics

MAX_WAITING: Final = 2000
"""Maximum number of recorded forecasts that wait for their shadows: as many as a worker can record in a second."""

GROUP: Final = 8
"""Maximum number of forecasts that a model makes at a time.

Callers wait for the interpreter meanwhile: with 32, their p99 was 1.8 × that without a challenger; with 8 it is 1.2 ×.
"""

GATHER_SECONDS: Final = 0.25
"""Pause before the first waiting forecast is taken: shadows made in groups cost a third of single ones."""

REST: Final = 9.0
"""Rest after each group, as a multiple of the time that it took: callers have the rest of the worker's time."""

CLOSE_SECONDS: Final = 1.0
"""Time for making waiting shadows when a worker stops; the rest are lost."""

_log = structlog.get_logger(__name__)


class ShadowForecaster:
    """Makes and records shadows, in a task; use it from one event loop.

    Args:
        ledger: records them.
        batcher: computes them.
        models: returns the loaded models that make shadows of each other's forecasts: the champion and the challengers.
        metrics: counts them.
        rest: rests for some seconds.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        batcher: Batcher,
        models: Callable[[], Sequence[Forecaster]],
        metrics: Metrics,
        *,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._batcher = batcher
        self._models = models
        self._rest = rest
        self._waiting: deque[IssuedForecast] = deque()
        self._work = asyncio.Event()
        self._task = BackgroundTask()
        self._shed, self._queue = metrics.shadows_shed, metrics.shadows_waiting
        self._recorded, self._refused, self._failed, self._unsupported = (
            metrics.shadows.labels(outcome) for outcome in ("recorded", "refused", "failed", "unsupported")
        )
        self._shedding = FailureLog(_log, failed="shadows_shed", recovered="shadows_kept_up")
        self._failing = FailureLog(_log, failed="shadows_failed", recovered="shadows_recorded")

    def put(self, recorded: IssuedForecast) -> None:
        """Put a forecast that was recorded as new into the queue, and do no more, because its call waits for this."""
        if all(model.version == recorded.forecast.model_version for model in self._models()):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._shed.inc()
            self._shedding.failed(
                OverflowError(f"{MAX_WAITING} forecasts wait for their shadows; the oldest one has none"),
                traceback=False,
            )
        self._waiting.append(recorded)
        self._work.set()

    def start(self) -> None:
        """Start the task."""
        self._task.start(self._run(), "shadows")

    async def close(self) -> None:
        """End the task after the shadows of the waiting forecasts, or after CLOSE_SECONDS."""
        await self._task.end()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._waiting:
                    await self._make()
        except TimeoutError:
            self._shed.inc(len(self._waiting))
            self._waiting.clear()
        self._queue.set(0)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await self._rest(GATHER_SECONDS)
            self._work.clear()
            while self._waiting:
                began = time.perf_counter()
                await self._make()
                self._queue.set(len(self._waiting))
                await self._rest(REST * (time.perf_counter() - began))

    async def _make(self) -> None:
        """Make the shadows of some waiting forecasts."""
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        try:
            shadows = [shadow for model in self._models() for shadow in await self._forecast(model, group)]
            if shadows:
                recorded = await self._ledger().record_shadows(shadows)
                self._recorded.inc(len(recorded))
                self._refused.inc(len(shadows) - len(recorded))
            self._failing.succeeded()
            if len(self._waiting) < MAX_WAITING // 2:
                self._shedding.succeeded()
        except Exception as error:  # whatever failed, the next forecasts should have shadows
            self._failed.inc(len(group))
            self._failing.failed(error, traceback=not isinstance(error, DejavuError))

    async def _forecast(self, model: Forecaster, group: Sequence[IssuedForecast]) -> list[ShadowForecast]:
        """Return a model's shadow forecasts."""
        beside, queries = [], []
        for recorded in group:
            if recorded.forecast.model_version == model.version:
                continue
            query = _query(recorded)
            try:
                model.check(query)
            except DejavuError:
                self._unsupported.inc()
                continue
            beside.append(recorded)
            queries.append(query)
        if not queries:
            return []
        answers = await self._batcher.forecast_aside(model, queries)
        shadows = []
        for recorded, answer in zip(beside, answers, strict=True):
            if isinstance(answer, Failed):
                self._failed.inc()
                self._failing.failed(answer.error, model=model.version)
                continue
            now = utc_now()
            expires = now + (recorded.expires_time - recorded.generated_time)
            shadows.append(ShadowForecast(recorded.sequence, answer, now, expires))
        return shadows


def _query(recorded: IssuedForecast) -> ForecastQuery:
    """Return the query of a recorded forecast, without its unscored parts."""
    return ForecastQuery(
        pattern=recorded.pattern,
        horizon=recorded.forecast.horizon,
        alpha=recorded.forecast.alpha,
        home_team=recorded.home_team,
        away_team=recorded.away_team,
        pregame_margin=recorded.pregame_margin,
        record=True,
        game_date=recorded.rated_day,
        is_playoffs=is_playoffs(recorded.game_id),
        live=recorded.live,
        lineups=recorded.lineups,
        moment=recorded.forecast.moment,
    )
