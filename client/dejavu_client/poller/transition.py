"""A transition of a watched game under construction: the game so far, and the effects so far."""

from __future__ import annotations

from dataclasses import replace

from dejavu_client.poller.effects import Effect
from dejavu_client.poller.events import Fault, FaultKind
from dejavu_client.poller.horizons import HorizonState
from dejavu_client.poller.observations import Knowledge
from dejavu_client.poller.watched_game import WatchedGame


class Transition:
    """Collects the changes of a game and the effects that follow from one observation.

    Args:
        game: the game before.
        knowledge: what is known at the time of the observation.

    Attributes:
        game: the game so far.
        effects: the effects so far, in order.
        now, model, keeps_record: see `Knowledge`.
    """

    def __init__(self, game: WatchedGame, knowledge: Knowledge) -> None:
        self.game = game
        self.effects: list[Effect] = []
        self.now = knowledge.now
        self.model = knowledge.model
        self.keeps_record = knowledge.keeps_record

    def add(self, effect: Effect) -> None:
        """Adds an effect: an event to emit, or a request."""
        self.effects.append(effect)

    def fault(self, reason: str, failures: int = 1, *, kind: FaultKind) -> None:
        """Adds a fault of this game to emit."""
        self.add(Fault(self.game.state.game_id, reason, failures, kind=kind))

    def set_horizon(self, watched: HorizonState) -> None:
        """Replaces the state of a horizon."""
        if watched is not self.game.horizons[watched.horizon]:
            self.game = replace(self.game, horizons={**self.game.horizons, watched.horizon: watched})
