"""A poller on a test evening, stepped turn by turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from tests.support.builders.evenings import Evening, StoringPredictor

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.requests import HALFTIME
from dejavu_feed.nba.plays import Play
from dejavu_poller import Poller
from dejavu_poller.events import Event, Prediction

EventT = TypeVar("EventT")
SIX_MINUTES: Final = 1080.0
"""6:00 of the second quarter, in game seconds; the next basket is a second later."""
HALF: Final = 1440.0
END: Final = 2880.0
ONCE: Final[dict[str, Any]] = {"horizons": (HALFTIME,), "from_minute": 18, "every": 6}
"""Options of a poller that forecasts each half once, at 6:00 of the second quarter."""


class Watch:
    """A poller on an evening, and its events."""

    def __init__(self, evening: Evening, predictor: StoringPredictor, poller: Poller, events: list[Event]) -> None:
        self.evening = evening
        self.predictor = predictor
        self.poller = poller
        self.events = events

    async def at(self, elapsed: float, index: int = 0) -> None:
        """Run one turn at `elapsed` game seconds of a game."""
        self.evening.go_to(elapsed, index)
        await self.turn()

    async def turn(self) -> None:
        self.poller.turn()
        await self.poller.idle()

    def told(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def watching(
    evening: Evening,
    predictor: StoringPredictor | None = None,
    on_prediction: Sequence[Callable[[Prediction], None]] = (),
    client: AsyncDejavuClient | None = None,
    **options: Any,
) -> AsyncIterator[Watch]:
    """Yield a poller that uses `client`, or else `predictor`, with further options; it forecasts from minute 6 on."""
    events: list[Event] = []
    predictor = predictor or StoringPredictor()
    async with Poller(
        evening,
        client or predictor,
        on_prediction=on_prediction,
        on_event=[events.append],
        now=evening.clock,
        **{"from_minute": 6, **options},
    ) as poller:
        yield Watch(evening, predictor, poller, events)
    evening.release.set()


def correct(plays: tuple[Play, ...], *, until: float, by: int) -> tuple[Play, ...]:
    """Change the home score of all plays from the first second to `until`, as when a three becomes a two."""
    return tuple(replace(play, home=play.home + by) if 1 <= play.elapsed <= until else play for play in plays)
