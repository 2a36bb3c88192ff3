"""Newest states of games as the poller read them from the feed, and newest recorded prices, for all browsers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_RECORDING_RECORDED
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_common.clock import game_day, utc_now
from dejavu_feed.game_ids import is_replay
from dejavu_gateway.live.messages import StreamMessage
from dejavu_gateway.messages.encode import to_json

KEPT: Final = timedelta(days=1)
"""Time for which the server keeps a state."""


@dataclass(frozen=True, slots=True)
class PublishedGame:
    """State or prices of a game.

    Attributes:
        number: number among all that were received; later ones have greater numbers.
        game_id: the game.
        state: the state, or the newest forecast with its markets.
        message: the same as it is sent, without a position: a stream resumes by its forecasts and outcomes.
    """

    number: int
    game_id: str
    state: Game | RecordedPrediction
    message: StreamMessage


def is_priced(prediction: RecordedPrediction) -> bool:
    """Return whether a forecast of the end was in time, and has recorded prices of the lead or the winner.

    A market that was sent after the outcome had been observed is no price of the game.
    """
    forecast = prediction.forecast
    return (
        forecast.horizon == HORIZON_FINAL
        and not forecast.late
        and any(
            each.answer.kind == MARKET_KIND_LEAD and each.answer.recording == MARKET_RECORDING_RECORDED
            for each in prediction.markets
        )
    )


class LiveGames:
    """The newest state of each game, and its newest forecast with prices.

    Attributes:
        count: number of them received.
    """

    def __init__(self) -> None:
        self.count = 0
        self._states: dict[tuple[str, str], PublishedGame] = {}  # in order of their numbers

    def take(self, game: Game) -> bool:
        """Take a state; return whether it is new. The server repeats all states after a broken connection."""
        return self._take("game", game.game_id, game)

    def take_priced(self, prediction: RecordedPrediction) -> bool:
        """Take a forecast with prices, without its distribution; return whether it is new."""
        prediction.forecast.ClearField("distribution")
        return self._take("priced", prediction.forecast.game_id, prediction)

    def _take(self, event: str, game_id: str, message: Game | RecordedPrediction) -> bool:
        before = self._states.get((event, game_id))
        if before is not None and before.state == message:
            return False
        self.count += 1
        self._states.pop((event, game_id), None)
        sent = StreamMessage(event, to_json(message))
        self._states[event, game_id] = PublishedGame(self.count, game_id, message, sent)
        return True

    def after(self, number: int, games: frozenset[str]) -> list[PublishedGame]:
        """Return the newest ones with a greater number, oldest first, of some games (empty: of all)."""
        found = list[PublishedGame]()
        for state in reversed(self._states.values()):
            if state.number <= number:
                break
            if not games or state.game_id in games:
                found.append(state)
        return found[::-1]

    def of(self, game_id: str) -> Game | None:
        """Return the state of a game; None if none of the last day is known."""
        self._forget()
        published = self._states.get(("game", game_id))
        return published.state if published is not None and isinstance(published.state, Game) else None

    def evening(self, days: dict[str, date]) -> date:
        """Return the evening of the games that are on: today's, unless all of them replay games of another day.

        Args:
            days: the days of the games that were forecast lately, the newest last.
        """
        today = game_day(utc_now())
        of_today = [game_id for game_id, day in days.items() if day == today]
        of_today += [game.game_id for game in self.of_day(today, today, days)]
        if not all(map(is_replay, of_today)):
            return today
        return next((days[game_id] for game_id in reversed(list(days)) if is_replay(game_id)), today)

    def of_day(self, day: date, evening: date, days: dict[str, date]) -> Iterator[Game]:
        """Yield the states of the games of a day.

        Args:
            day: the day.
            evening: the evening that is on: a replay belongs to it until its first forecast names its day.
            days: the days of the games that were forecast lately; other games belong to the day of their tip-off.
        """
        self._forget()
        for game in [each.state for each in self._states.values() if isinstance(each.state, Game)]:
            known = days.get(game.game_id) or (evening if is_replay(game.game_id) else _day_of_tip_off(game))
            if known == day:
                yield game

    def _forget(self) -> None:
        """Forget what is older than a day."""
        oldest = utc_now() - KEPT
        self._states = {key: state for key, state in self._states.items() if _time(state.state) > oldest}


def _time(message: Game | RecordedPrediction) -> datetime:
    """Return when a state was published, or a forecast was made."""
    time = message.published_time if isinstance(message, Game) else message.forecast.generated_time
    return time.ToDatetime(tzinfo=UTC)


def _day_of_tip_off(game: Game) -> date | None:
    return game_day(game.tip_off_time.ToDatetime(tzinfo=UTC)) if game.HasField("tip_off_time") else None
