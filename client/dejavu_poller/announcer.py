"""Announces the events of a poller to callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from dejavu_client.logs import get_logger
from dejavu_poller.events import Event, Fault, FaultKind, Prediction

EventT = TypeVar("EventT", bound=Event)
Callback = Callable[[EventT], Awaitable[None] | None]

log = get_logger()


class Announcer:
    """Calls callbacks with events. A callback that raises is logged and does not affect anything else.

    Args:
        on_prediction: callbacks for forecasts.
        on_event: callbacks for all events, including forecasts.
    """

    def __init__(self, on_prediction: Sequence[Callback[Prediction]], on_event: Sequence[Callback[Event]]) -> None:
        self._on_prediction = tuple(on_prediction)
        self._on_event = list(on_event)
        self._faults: dict[str, frozenset[str]] = {}

    def add(self, callback: Callback[Event]) -> None:
        """Add a callback for all events from now on."""
        self._on_event.append(callback)

    async def announce(self, event: Event) -> None:
        """Call the callbacks with an event."""
        if isinstance(event, Fault):  # at level info: users see the event
            log.info("poll.fault", source=event.source, reason=event.reason, failures=event.failures)
        if isinstance(event, Prediction):
            await self._call(self._on_prediction, event)
        await self._call(self._on_event, event)

    async def announce_faults(self, source: str, faults: frozenset[str], kind: FaultKind) -> None:
        """Announce the faults that a source has now, each once until it has passed."""
        for fault in sorted(faults - self._faults.get(source, frozenset())):
            await self.announce(Fault(source, fault, kind=kind))
        self._faults[source] = faults

    async def _call(self, callbacks: Iterable[Callback[EventT]], event: EventT) -> None:
        for callback in callbacks:
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("poll.callback_failed", callback=repr(callback), happened=type(event).__name__)
