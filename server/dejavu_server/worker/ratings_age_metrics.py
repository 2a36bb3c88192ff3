"""Watches the age of the models' team ratings: sets the metrics, and logs when ratings are too old to be used.

Old ratings cause no failure: forecasts treat the teams as unknown, and only their `warnings` say so. The log and the
metrics inform the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from dejavu_common.clock import game_day
from dejavu_feed.off_season import playing_days
from dejavu_models.ratings import ratings_warnings
from dejavu_models.types import WarningReason
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask

REFRESH_SECONDS = 60.0
"""Interval at which the age is recomputed: the age grows at the end of a day, and a reported final reduces it."""

_log = structlog.get_logger(__name__)


class RatingsAge(PeriodicTask):
    """Keeps the metrics of the ratings' age up to date while a worker serves.

    Args:
        models: the models.
        metrics: metrics of the worker.
        clock: returns the current time, aware and in UTC.
        logs: whether to log outdated ratings; only one worker of a server does.
    """

    def __init__(self, models: ServingModels, metrics: Metrics, clock: Callable[[], datetime], *, logs: bool) -> None:
        super().__init__("ratings-age", REFRESH_SECONDS, self._refresh, at_once=True)
        self._models = models
        self._metrics = metrics
        self._clock = clock
        self._logs = logs
        self._outdated = set[str]()
        self._known = set[str]()

    async def _refresh(self) -> None:
        """Set the metrics for today's games; log each model whose ratings became too old, or current again."""
        today, infos = game_day(self._clock()), self._models.models()
        for gone in self._known - {info.version for info in infos}:  # labels cannot be removed in several processes
            self._metrics.ratings_age.labels(gone).set(math.nan)
            self._metrics.finals_since.labels(gone).set(math.nan)
            self._outdated.discard(gone)
        self._known = {info.version for info in infos}
        for info in infos:
            days = playing_days(info.ratings_date, today)
            self._metrics.ratings_age.labels(info.version).set(timedelta(days=days).total_seconds())
            self._metrics.finals_since.labels(info.version).set(info.finals_since)
            outdated = WarningReason.RATINGS_OUTDATED in ratings_warnings(
                info.ratings_date, today, info.max_ratings_days
            )
            if not self._logs or outdated == (info.version in self._outdated):
                continue
            known = {"model": info.version, "ratings_date": info.ratings_date.isoformat(), "age_days": days}
            if outdated:
                self._outdated.add(info.version)
                _log.warning(
                    "ratings_outdated",
                    **known,
                    max_days=info.max_ratings_days,
                    effect="teams count as unknown in forecasts of today's games",
                    advice="report finals (dejavu poll), or refresh the bundle's ratings (dejavu-trainer refresh)",
                )
            else:
                self._outdated.discard(info.version)
                _log.info("ratings_current", **known, finals_since=info.finals_since)
