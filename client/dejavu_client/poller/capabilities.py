"""What the server's model can forecast: a poller asks for nothing else, and says so once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import DejavuClientError, NotFoundError
from dejavu_client.formatting import horizon_label

_FRESH: Final = 300.0
"""Seconds after which the server is asked again: a server may be given another model in the middle of an evening."""


class ModelLister(Protocol):
    """Who tells which models there are; an `AsyncDejavuClient`."""

    async def list_models(self) -> list[Model]:
        """The models, the active one first; raises a `DejavuClientError`."""
        ...


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """What a model can forecast.

    Attributes:
        version: the model's.
        minutes: for each horizon that it knows, the numbers of minutes from which it does.
    """

    version: str
    minutes: Mapping[Horizon.ValueType, range]

    def of(self, horizon: Horizon.ValueType) -> range:
        """The minutes from which it forecasts a horizon; an empty range if it does not."""
        return self.minutes.get(horizon, range(0))

    def unsupported(self, wanted: Mapping[Horizon.ValueType, range]) -> str:
        """In words, what of the wanted it can't do; "" if it can do all."""
        short = []
        for horizon, minutes in wanted.items():
            able = self.of(horizon)
            if not able:
                short.append(f"the {horizon_label(horizon)} not at all")
            elif not all(minute in able for minute in minutes):
                short.append(f"the {horizon_label(horizon)} after {_span(able)} alone")
        if not short:
            return ""
        return f"model {self.version} forecasts {', '.join(short)}; nothing else is asked for"


def _span(minutes: range) -> str:
    first, last = minutes[0], minutes[-1]
    return f"minute {first}" if first == last else f"minutes {first} to {last}"


def capabilities_of(models: Iterable[Model]) -> ModelCapabilities:
    """What the active model can do.

    Raises:
        NotFoundError: if none is active.
    """
    active = next((model for model in models if model.active), None)
    if active is None:
        raise NotFoundError("the server holds no active model")
    known = {support.horizon: range(support.min_slots, support.max_slots + 1) for support in active.horizons}
    return ModelCapabilities(active.version, known)


class CapabilityCache:
    """The active model's abilities, asked for when they are needed and again after some minutes.

    Args:
        client: who tells.
        now: the wall clock, aware.

    Attributes:
        known: what it said last; None before.
    """

    def __init__(self, client: ModelLister, now: Callable[[], datetime]) -> None:
        self.known: ModelCapabilities | None = None
        self._client = client
        self._now = now
        self._asked: datetime | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Has the server asked again the next time: it refused what its model was said to be able to do."""
        self._asked = None

    async def get(self) -> ModelCapabilities:
        """What the active model can do; what it could the last time if the server gives no answer.

        Raises:
            DejavuClientError: if the server gave none ever.
        """
        async with self._lock:  # the games of an evening ask together
            if self.known is None or self._asked is None or (self._now() - self._asked).total_seconds() > _FRESH:
                try:
                    self.known = capabilities_of(await self._client.list_models())
                except DejavuClientError:
                    if self.known is None:
                        raise
                self._asked = self._now()
            return self.known
