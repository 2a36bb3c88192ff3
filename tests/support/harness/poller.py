"""A poller on a test evening, stepped turn by turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from tests.support.builders.evenings import Edit, Evening, StoringPredictor, game

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.requests import HALFTIME
from dejavu_poller import Poller
from dejavu_poller.announcer import Callback
from dejavu_poller.events import Event, Prediction
from dejavu_poller.watched_game import WatchedGame

EventT = TypeVar("EventT")
SIX_MINUTES: Final = 1080.0
"""6:00 of the second quarter, in game seconds; the next basket is a second later."""
HALF: Final = 1440.0
END: Final = 2880.0
ONCE: Final[dict[str, Any]] = {"horizons": (HALFTIME,), "from_minute": 18, "every": 6}
"""Options of a poller that forecasts each half once, at 6:00 of the second quarter."""


class Watch:
    """A poller on an evening, and its events.

    Attributes:
        evening, predictor: what the poller reads, and its server.
        poller: the poller.
        events: its events so far.
    """

    def __init__(self, evening: Evening, predictor: StoringPredictor, poller: Poller, events: list[Event]) -> None:
        self.evening = evening
        self.predictor = predictor
        self.poller = poller
        self.events = events

    @property
    def id(self) -> str:
        """Id of the first game."""
        return self.evening.ids[0]

    @property
    def seen(self) -> WatchedGame:
        """The first game as the poller sees it."""
        return self.poller.games[self.id]

    async def at(self, *elapsed: float, index: int = 0) -> None:
        """Run one turn at each of these game seconds of a game."""
        for each in elapsed:
            self.evening.go_to(each, index)
            await self.turn()

    async def minutes(self, *minutes: int) -> None:
        """Run one turn a second after the end of each of these minutes."""
        await self.at(*(60.0 * minute + 1 for minute in minutes))

    async def over(self, turns: int = 1) -> None:
        """Run some turns at the end of the evening."""
        self.evening.clock.now = self.evening.replay.end
        await self.turn(turns)

    async def turn(self, turns: int = 1, *, after: float = 0.0) -> None:
        """Run some turns, each some seconds after the one before."""
        for _ in range(turns):
            self.evening.clock.step(after)
            self.poller.turn()
            await self.poller.idle()

    def edit(self, edit: Edit | None) -> None:
        """Correct the plays of the first game; None: no more."""
        self.evening.edit.pop(self.id, None)
        if edit is not None:
            self.evening.edit[self.id] = edit

    def told(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def watching(
    evening: Evening | None = None,
    predictor: StoringPredictor | None = None,
    on_prediction: Sequence[Callback[Prediction]] = (),
    client: AsyncDejavuClient | None = None,
    **options: Any,
) -> AsyncIterator[Watch]:
    """Yield a poller of an evening, by default one of one game, with further options; it forecasts from minute 6 on.

    It uses `client`, or else `predictor`.
    """
    events: list[Event] = []
    evening, predictor = evening or Evening([game()]), predictor or StoringPredictor()
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


def moved(by: int, first: float = 1, until: float = END) -> Edit:
    """Return a change of the home score of all plays between two game seconds, as when a three becomes a two."""
    return lambda plays: tuple(
        replace(play, home=play.home + by) if first <= play.elapsed <= until else play for play in plays
    )


def cut_at(elapsed: float) -> Edit:
    """Return an edit that leaves out the plays after a game second, as of a feed that lags behind."""
    return lambda plays: tuple(play for play in plays if play.elapsed <= elapsed)


def newest(**changes: Any) -> Edit:
    """Return a change of the newest play."""
    return lambda plays: (*plays[:-1], replace(plays[-1], **changes))
