"""Capabilities of the server's model: a poller requests only supported forecasts, and reports limits once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import DejavuClientError, NotFoundError
from dejavu_client.formatting import horizon_label

_REFRESH_AFTER: Final = 300.0
"""Seconds until the capabilities are fetched again: the server may switch models in the middle of an evening."""


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """Horizons and minutes that a model can forecast, and whether its ratings can be used today.

    Attributes:
        version: version of the model.
        minutes: for each supported horizon, the minutes of play after which the model can forecast it.
        outdated_ratings: the server's warning that ratings are too old to be used today; "" if no ratings are.
        moments: whether the model forecasts the last minute before a horizon, and overtime.
    """

    version: str
    minutes: Mapping[Horizon.ValueType, range]
    outdated_ratings: str = ""
    moments: bool = False

    def of(self, horizon: Horizon.ValueType) -> range:
        """Return the minutes after which the model can forecast a horizon; an empty range if it can't."""
        return self.minutes.get(horizon, range(0))

    def unsupported(self, requested: Mapping[Horizon.ValueType, range]) -> str:
        """Describe the requested horizons and minutes that the model does not support; "" if it supports all."""
        gaps = []
        for horizon, minutes in requested.items():
            supported = self.of(horizon)
            if not supported:
                gaps.append(f"the {horizon_label(horizon)} not at all")
            elif not all(minute in supported for minute in minutes):
                gaps.append(f"the {horizon_label(horizon)} after {_span(supported)} alone")
        if not gaps:
            return ""
        return f"model {self.version} forecasts {', '.join(gaps)}; other forecasts are not requested"

    @property
    def advice(self) -> str:
        """The warning of outdated ratings, with the command that helps; "" if no ratings are outdated."""
        return f"{self.outdated_ratings}; run `dejavu-trainer refresh`" if self.outdated_ratings else ""


def _span(minutes: range) -> str:
    first, last = minutes[0], minutes[-1]
    return f"minute {first}" if first == last else f"minutes {first} to {last}"


def capabilities_of(models: Iterable[Model]) -> ModelCapabilities:
    """Return the capabilities of the active model.

    Raises:
        NotFoundError: if no model is active.
    """
    active = next((model for model in models if model.active), None)
    if active is None:
        raise NotFoundError("the server has no active model")
    minutes = {support.horizon: range(support.min_slots, support.max_slots + 1) for support in active.horizons}
    outdated = [each.text for each in active.warnings if each.reason == WARNING_REASON_RATINGS_OUTDATED]
    return ModelCapabilities(active.version, minutes, "; ".join(outdated), "moment" in active.inputs)


class CapabilityCache:
    """Caches the active model's capabilities and refreshes them every few minutes.

    Args:
        list_models: lists the models of the server; raises a `DejavuClientError` on failure.
        now: wall clock, timezone-aware.

    Attributes:
        known: the capabilities last fetched; None before the first fetch.
    """

    def __init__(self, list_models: Callable[[], Awaitable[list[Model]]], now: Callable[[], datetime]) -> None:
        self.known: ModelCapabilities | None = None
        self._list_models = list_models
        self._now = now
        self._fetched: datetime | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Fetch again on the next use; called when the server refuses a supposedly supported request."""
        self._fetched = None

    async def get(self) -> ModelCapabilities:
        """Return the active model's capabilities; the last known ones if the server does not answer.

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
                    self.known = capabilities_of(await self._list_models())
                except DejavuClientError:
                    if self.known is None:
                        raise
                self._fetched = self._now()
            return self.known
