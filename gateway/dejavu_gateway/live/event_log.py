"""The newest events of the server's stream, in order; each browser reads from a position of its own.

The server's resume tokens are positions of the log: a browser that resumes from a known token misses nothing and gets
nothing twice. No browser has a queue: a browser that lags behind the log's beginning is cut off and resumes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_common.clock import game_day, utc_now
from dejavu_gateway.live.messages import StreamMessage
from dejavu_gateway.messages.encode import to_json

CURRENT_AGE: Final = timedelta(hours=12)
"""Maximum age of the newest forecasts with which a browser starts, as for the server's include_current."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """A forecast or an outcome.

    Attributes:
        sequence: position in the server's ledger.
        game_id: the game.
        token: resume token of the position right after the event.
        time: when it was recorded, aware.
        message: the StreamPredictionsResponse, as it is sent.
        day: local date of the game (ISO 8601); "" where the event names none.
    """

    sequence: int
    game_id: str
    token: str
    time: datetime
    message: StreamMessage
    day: str = ""

    @classmethod
    def of(cls, response: StreamPredictionsResponse) -> LiveEvent:
        """Return the event of a response that is not a heartbeat."""
        entry = response.outcome if response.HasField("outcome") else response.forecast
        time = entry.generated_time if isinstance(entry, Forecast) else entry.recorded_time
        recorded, day = time.ToDatetime(tzinfo=UTC), response.forecast.game_date
        message = StreamMessage("prediction", to_json(response), response.resume_token)
        return cls(entry.sequence, entry.game_id, response.resume_token, recorded, message, day)

    def wanted_by(self, games: frozenset[str]) -> bool:
        """Return whether a browser that follows these games (none: all games) gets the event."""
        return not games or self.game_id in games


class EventLog:
    """Bounded log of events, and the newest forecast of each game and horizon.

    Args:
        max_events: most events kept.
        max_bytes: most bytes of chunks kept.

    Attributes:
        first: position of the oldest event kept.
        end: position after the newest event.
        token: resume token at the end; empty before the log has begun.
        newest_time: when the newest event was recorded; None before there is one.
        size: bytes of chunks kept.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events = deque[LiveEvent]()
        self._positions: dict[str, int] = {}  # token → position, oldest first
        self._current: dict[tuple[str, int], LiveEvent] = {}
        self._explained: dict[tuple[str, int], Forecast] = {}
        self.first = self.end = 0
        self.token = ""
        self.newest_time: datetime | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def begun(self) -> bool:
        """Whether the log has a position: it begins at the server's first heartbeat, after which no event is missed."""
        return bool(self.token)

    def accept(self, response: StreamPredictionsResponse) -> LiveEvent | None:
        """Take the next response of the stream; return its event, None for a heartbeat.

        Events before the first heartbeat are the newest of their games, without the events between them: they are
        current, but not part of the log.
        """
        if response.HasField("heartbeat"):
            self._mark(response.resume_token)
            return None
        event = LiveEvent.of(response)
        if response.HasField("forecast") and not response.forecast.late:
            self._current[event.game_id, response.forecast.horizon] = event
            if response.forecast.HasField("explanation"):  # moments have none
                self._explained[event.game_id, response.forecast.horizon] = response.forecast
        self.newest_time = event.time
        if self.begun:
            self._events.append(event)
            self.size += len(event.message.chunk)
            self.end += 1
            self._mark(event.token)
            self._trim()
        return event

    def _mark(self, token: str) -> None:
        self._positions.pop(token, None)
        self._positions[token] = self.end
        self.token = token

    def _trim(self) -> None:
        while len(self._events) > self._max_events or (self.size > self._max_bytes and len(self._events) > 1):
            self.size -= len(self._events.popleft().message.chunk)
            self.first += 1
        # At least as many of the oldest as one more event can remove.
        for token, position in list(islice(self._positions.items(), 4)):
            if position < self.first:
                del self._positions[token]

    def position(self, token: str) -> int | None:
        """Return the position of a token; None if the log does not reach back to it, or never saw the token."""
        position = self._positions.get(token)
        return position if position is not None and position >= self.first else None

    def read(self, position: int, limit: int) -> list[LiveEvent]:
        """Return up to `limit` events from a position on.

        Raises:
            LookupError: if the log does not reach back to the position any more.
        """
        start = position - self.first
        if start < 0:
            raise LookupError(position)
        return [self._events[index] for index in range(start, min(start + limit, len(self._events)))]

    def current(self, games: frozenset[str]) -> list[LiveEvent]:
        """Return the newest forecast of each game and horizon of the last 12 hours, in order of sequence."""
        since = utc_now() - CURRENT_AGE
        self._current = {key: each for key, each in self._current.items() if each.time >= since}
        return sorted(
            (each for each in self._current.values() if each.wanted_by(games)), key=lambda each: each.sequence
        )

    def days(self) -> dict[str, date]:
        """Return the day of each game with a current forecast, the game that was forecast last at the end."""
        found = dict[str, date]()
        for event in self.current(frozenset()):
            found.pop(event.game_id, None)
            found[event.game_id] = date.fromisoformat(event.day) if event.day else game_day(event.time)
        return found

    def explained(self, game_id: str) -> list[Forecast]:
        """Return the newest forecasts of a game that came with their explanation, one for each horizon."""
        since = utc_now() - CURRENT_AGE
        made = {key: each.generated_time.ToDatetime(UTC) for key, each in self._explained.items()}
        self._explained = {key: each for key, each in self._explained.items() if made[key] >= since}
        return [each for each in self._explained.values() if each.game_id == game_id]
