"""Composes the ledger of a worker, and the learning of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from dejavu_ledger import Durability
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.record import RecordingLimits
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import AdaptationMode
from dejavu_server.api.converters.forecast import CourseOf, forecast_message
from dejavu_server.api.converters.record import outcome_message
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.ledger_manager import LedgerHealth, LedgerManager

_MEBIBYTE: Final = 1024 * 1024


def new_ledger_manager(
    settings: Settings,
    metrics: Metrics,
    on_change: Callable[[LedgerHealth], None],
    committed: Sequence[asyncio.Event],
    course_of: CourseOf,
    *,
    make: bool,
) -> LedgerManager:
    """Return the manager that keeps the ledger open, not started.

    Args:
        settings: settings of the worker.
        metrics: its metrics.
        on_change: called when the health of the ledger changes.
        committed: set after every commit that may have added more than forecasts, each for one reader.
        course_of: returns courses of similar games, for streams; called on any thread.
        make: whether to create a missing ledger.
    """
    reserve = settings.ledger_reserve_mib * _MEBIBYTE
    metrics.ledger_reserve.set(reserve)
    metrics.max_ratings_age.set(timedelta(days=settings.max_ratings_days).total_seconds())
    metrics.checkpoint_interval.set(settings.checkpoint_seconds)
    return LedgerManager(
        settings.ledger,
        durability=Durability(settings.durability),
        new_broadcaster=partial(
            Broadcaster,
            encode=partial(forecast_message, explanation=True, course_of=course_of),
            encode_outcome=outcome_message,
            heartbeat_seconds=settings.heartbeat_seconds,
        ),
        on_change=on_change,
        committed=committed,
        make=make,
        limits=RecordingLimits(settings.max_game_forecasts, reserve),
        on_free_bytes=metrics.set_ledger_free,
        on_size_bytes=metrics.ledger_bytes.set,
        on_identity=lambda identity: metrics.set_ledger_epoch(identity.ledger_id, identity.epoch),
        on_clock_seconds=metrics.ledger_clock_ahead.set,
        on_commit_seconds=metrics.commit_seconds.observe,
        on_read_seconds=metrics.read_seconds.observe,
    )


def new_updater(
    settings: Settings, ledger: CurrentLedger, forecasters: Sequence[Forecaster], committed: asyncio.Event
) -> OnlineUpdater:
    """Return the updater that lets models learn from outcomes, not started."""
    return OnlineUpdater(
        ledger,
        forecasters,
        mode=None if settings.adaptive == "off" else AdaptationMode(settings.adaptive),
        carry_ratings=settings.ratings == "carried",
        committed=committed,
    )
