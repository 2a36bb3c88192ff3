"""Newest states of games as the poller read them from the feed, for all browsers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Final

from dejavu.v1.game_service_pb2 import Game
from dejavu_common.clock import game_day, utc_now
from dejavu_feed.game_ids import is_replay
from dejavu_gateway.live.event_log import chunk_of
from dejavu_gateway.messages.encode import to_json

KEPT: Final = timedelta(days=1)
"""Time for which the server keeps a state."""


@dataclass(frozen=True, slots=True)
class PublishedGame:
    """State of a game, with its text as JSON, which all browsers share.

    Attributes:
        number: number of the state among all states received; later ones have greater numbers.
        game: the state.
        json: the same as JSON.
        sse: the same as a server-sent event. It has no id: a stream resumes by its forecasts and outcomes.
        chunk: the event as a chunk of an HTTP/1.1 answer.
    """

    number: int
    game: Game
    json: bytes
    sse: bytes
    chunk: bytes


class LiveGames:
    """The newest state of each game.

    Attributes:
        count: number of states received.
    """

    def __init__(self) -> None:
        self.count = 0
        self._states: dict[str, PublishedGame] = {}  # in order of their numbers

    def take(self, game: Game) -> bool:
        """Take a state; return whether it is new. The server repeats all states after a broken connection."""
        before = self._states.get(game.game_id)
        if before is not None and before.game == game:
            return False
        self.count += 1
        json = to_json(game)
        sse = b"event: game\ndata: %b\n\n" % json
        self._states.pop(game.game_id, None)
        self._states[game.game_id] = PublishedGame(self.count, game, json, sse, chunk_of(sse))
        return True

    def after(self, number: int, games: frozenset[str]) -> list[PublishedGame]:
        """Return the newest states with a greater number, oldest first, of some games (empty: of all)."""
        found = list[PublishedGame]()
        for state in reversed(self._states.values()):
            if state.number <= number:
                break
            if not games or state.game.game_id in games:
                found.append(state)
        return found[::-1]

    def of(self, game_id: str) -> Game | None:
        """Return the state of a game; None if none of the last day is known."""
        self._forget()
        state = self._states.get(game_id)
        return None if state is None else state.game

    def evening(self, days: Mapping[str, date]) -> date:
        """Return the evening of the games that are on: today's, unless all of them replay games of another day.

        Args:
            days: the days of the games that were forecast lately, the newest last.
        """
        today = game_day(utc_now())
        of_today = [game_id for game_id, day in days.items() if day == today]
        of_today += [state.game_id for state in self.of_day(today, today, days)]
        if not all(map(is_replay, of_today)):
            return today
        return next((days[game_id] for game_id in reversed(list(days)) if is_replay(game_id)), today)

    def of_day(self, day: date, evening: date, days: Mapping[str, date]) -> Iterator[Game]:
        """Yield the states of the games of a day.

        Args:
            day: the day.
            evening: the evening that is on: a replay belongs to it until its first forecast names its day.
            days: the days of the games that were forecast lately; other games belong to the day of their tip-off.
        """
        self._forget()
        for game in [state.game for state in self._states.values()]:
            known = days.get(game.game_id) or (evening if is_replay(game.game_id) else _day_of_tip_off(game))
            if known == day:
                yield game

    def _forget(self) -> None:
        """Forget states older than a day."""
        oldest = utc_now() - KEPT
        self._states = {
            game_id: state
            for game_id, state in self._states.items()
            if state.game.published_time.ToDatetime(tzinfo=UTC) > oldest
        }


def _day_of_tip_off(game: Game) -> date | None:
    return game_day(game.tip_off_time.ToDatetime(tzinfo=UTC)) if game.HasField("tip_off_time") else None
