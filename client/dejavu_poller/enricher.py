"""Enrichers: each adds something to the games of a poller, and is told what happens to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.errors import DejavuClientError
from dejavu_feed.box_score import PlayerLine
from dejavu_feed.events import Event as GameEvent
from dejavu_feed.nba.live_payloads import GameState
from dejavu_poller.events import Event
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.watched_game import PendingOutcome, WatchedGame


class Enricher:
    """Something beside the forecasts of a poller's games: lines, prices, players, files of events.

    A subclass defines the methods that it needs; the others do nothing. Events that a method returns are emitted. No
    method raises.

    Attributes:
        source: name of its faults.
    """

    source = ""

    @property
    def faults(self) -> frozenset[str]:
        """What is wrong now; each problem is reported once until it has passed."""
        return frozenset()

    async def read(self) -> None:
        """Read what is due; called once a turn, and not again before it has ended."""

    async def follow(self, games: Sequence[GameState], *, leads: bool) -> None:
        """Take note of the games of a scoreboard.

        Args:
            games: the games.
            leads: whether this poller forecasts them.
        """

    async def enrich(self, game: WatchedGame, minutes: Sequence[int], inputs: ForecastInputs) -> None:
        """Add inputs of forecasts that are about to be requested.

        Args:
            game: the game.
            minutes: the minutes of play after which they are due, at least one.
            inputs: the inputs.
        """

    async def answered(
        self, game: WatchedGame, inputs: ForecastInputs, answers: Sequence[Forecast | DejavuClientError]
    ) -> Iterable[Event]:
        """Take note of the answers to a request with these inputs."""
        return ()

    async def players(self, outcome: PendingOutcome) -> tuple[PlayerLine, ...]:
        """Return the box score to report with an outcome; empty if it is not known."""
        return ()

    async def keep(self, game_id: str, events: Sequence[GameEvent]) -> Iterable[Event]:
        """Take note of all events of a game so far."""
        return ()

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more."""
