"""Capabilities of the server's model: a poller requests only supported forecasts, and reports limits once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import DejavuClientError, NotFoundError
from dejavu_client.formatting import horizon_label

_REFRESH_AFTER: Final = 300.0
"""Seconds until the model is fetched again: the server may switch models in the middle of an evening."""


def minutes_of(model: Model, horizon: Horizon.ValueType) -> range:
    """Return the minutes of play after which a model can forecast a horizon; an empty range if it can't."""
    supported = (each for each in model.horizons if each.horizon == horizon)
    return next((range(each.min_slots, each.max_slots + 1) for each in supported), range(0))


def unsupported(model: Model, requested: Mapping[Horizon.ValueType, range]) -> str:
    """Describe the requested horizons and minutes that a model does not support; "" if it supports all."""
    gaps = []
    for horizon, minutes in requested.items():
        supported = minutes_of(model, horizon)
        if not supported:
            gaps.append(f"the {horizon_label(horizon)} not at all")
        elif not all(minute in supported for minute in minutes):
            first, last = supported[0], supported[-1]
            span = f"minute {first}" if first == last else f"minutes {first} to {last}"
            gaps.append(f"the {horizon_label(horizon)} after {span} alone")
    return f"model {model.version} forecasts {', '.join(gaps)}; other forecasts are not requested" if gaps else ""


def advice(model: Model) -> str:
    """Return the server's warnings that ratings are too old to be used today, with the command that helps; or ""."""
    outdated = [each.text for each in model.warnings if each.reason == WARNING_REASON_RATINGS_OUTDATED]
    return "; ".join([*outdated, "run `dejavu-trainer refresh`"]) if outdated else ""


class CapabilityCache:
    """Caches the active model of the server and asks for it again every few minutes.

    Args:
        list_models: lists the models of the server; raises a `DejavuClientError` on failure.
        now: wall clock, timezone-aware.

    Attributes:
        known: the model last fetched; None before the first fetch.
    """

    def __init__(self, list_models: Callable[[], Awaitable[list[Model]]], now: Callable[[], datetime]) -> None:
        self.known: Model | None = None
        self._list_models = list_models
        self._now = now
        self._fetched: datetime | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Fetch again on the next use; called when the server refuses a supposedly supported request."""
        self._fetched = None

    async def get(self) -> Model:
        """Return the active model; the last known one if the server does not answer.

        Raises:
            DejavuClientError: if the server has never answered.
        """
        async with self._lock:  # the tasks of all games call this at the same time
            if (
                self.known is None
                or self._fetched is None
                or (self._now() - self._fetched).total_seconds() > _REFRESH_AFTER
            ):
                try:
                    active = next((each for each in await self._list_models() if each.active), None)
                    if active is None:
                        raise NotFoundError("the server has no active model")
                    self.known = active
                except DejavuClientError:
                    if self.known is None:
                        raise
                self._fetched = self._now()
            return self.known
