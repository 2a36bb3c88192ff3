"""Publishes what the feed shows of games: teams, score, clock, status and line, for pages and other subscribers.

Also reports the age of the data to the server, for its operators.

A state is published when it changes, and again from time to time, so that subscribers can tell how old it is. Near the
end of a game the plays are read more often than the scoreboard: then they have the newer score and clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import PASSING, DejavuClientError, InvalidArgumentError
from dejavu_client.logs import get_logger
from dejavu_common.clock import utc_now
from dejavu_common.tasks import BackgroundTask
from dejavu_feed.game_ids import is_replay
from dejavu_feed.nba.live_payloads import GameStatus as FeedStatus
from dejavu_feed.pattern import elapsed_seconds
from dejavu_feed.teams import TEAMS
from dejavu_poller.inputs import GameLine
from dejavu_poller.lines import put_line
from dejavu_poller.poller import Poller
from dejavu_poller.watched_game import WatchedGame

PUBLISH_SECONDS: Final = 1.0
"""Interval at which changed states are published."""

REPORT_SECONDS: Final = 15.0
"""Interval between two reports of the age of the data."""

LIVE_SECONDS: Final = 15.0
"""Time after which an unchanged state of a live game is published again, even if it was not read again: it tells
whether poller and feed go on."""

REST_SECONDS: Final = 3600.0
"""The same of other games: servers forget states after a day."""

_LAST_SECONDS: Final = 2.0
"""Time for the last states of a poller that ends."""

_MOST_GAMES: Final = 100
"""Maximum number of games of a request."""

_OLDEST: Final = timedelta(hours=23)
"""Age from which a state is not published any more; servers refuse those of more than a day."""

_TIP_OFF_WITHIN: Final = timedelta(days=6)
"""Start times further away are errors of the feed; servers refuse them from a week on."""

_STATUSES: Final = {
    FeedStatus.SCHEDULED: GameStatus.GAME_STATUS_SCHEDULED,
    FeedStatus.LIVE: GameStatus.GAME_STATUS_LIVE,
    FeedStatus.FINAL: GameStatus.GAME_STATUS_FINAL,
}

_READ_TIMES: Final = frozenset(("observed_time", "margin_time"))
"""Fields of a state that change with every read."""

_LONGEST_AGE: Final = 1e6
"""Maximum age that a server accepts, in seconds."""

_log = get_logger()


class GamePublisher:
    """Publishes the states of a poller's games, and the age of its data, in its context, while the poller leads.

    A standby poller sends nothing: it follows no game, and the server keeps the newest state and report.

    It stands beside the poller and is no `Enricher`: turns call those, and this one tells the server how old the
    poller's data is. So it must go on every second while a turn hangs, between turns (near the end, plays are read more
    often), and after the run, for the last finals.

    Args:
        poller: the poller.
        client: sends them.
        official: whether the feed is at the NBA's address; another one may be of a replay, whose age is reported once
            it has games. None: ages are not reported.
        report_seconds: seconds between two reports of the age, and until a server that refused one is asked again.
        now: clock of the poller.
    """

    def __init__(
        self,
        poller: Poller,
        client: AsyncDejavuClient,
        *,
        official: bool | None = None,
        report_seconds: float = REPORT_SECONDS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._poller = poller
        self._client = client
        self._report_seconds = report_seconds
        self._now = now
        self._begun = now()
        self._published: Mapping[str, tuple[Game, datetime]] = {}
        self._official = official
        self._tasks = BackgroundTask(), BackgroundTask()
        self._led = False

    async def __aenter__(self) -> Self:
        publishing, reporting = self._tasks
        publishing.start(self._repeat(self.publish, PUBLISH_SECONDS, lambda: True), "publish games")
        if self._official is not None:
            reporting.start(self._repeat(self.report, self._report_seconds, self._has_age), "report age")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Publish what is due, such as the last final of an evening, and stop."""
        for task in self._tasks:
            await task.end()
        with suppress(DejavuClientError, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                if self._led:  # a poller that has ended its run does not lead any more
                    await self.publish()

    async def report(self) -> None:
        """Report the age of the poller's data once, for the server's operators (`dejavu stats`).

        Raises:
            DejavuClientError: if the server does not accept the report.
        """
        now = self._now()
        ages = [age for game in self._poller.games.values() if (age := game.age(now)) is not None]
        read = self._poller.scoreboard_time or self._begun
        replayed = bool(self._poller.games) and all(map(is_replay, self._poller.games))
        await self._client.report_feed(
            "replay" if replayed else "nba",
            min(max(0.0, (now - read).total_seconds()), _LONGEST_AGE),
            data_age_seconds=min(max(ages), _LONGEST_AGE) if ages else None,
            live_games=len(ages),
        )

    async def publish(self) -> None:
        """Publish the states that are due.

        Raises:
            DejavuClientError: if the server does not accept them; they stay due.
        """
        now = self._now()
        states = {
            game_id: state_of(game, self._poller.lines.newest(game_id), now)
            for game_id, game in self._poller.games.items()
            if {game.state.home, game.state.away} <= TEAMS.keys() and not self._poller.lines.is_open(game_id)
        }
        due = [
            state
            for state in states.values()
            if _is_due(state, now, *self._published.get(state.game_id, ())) and now - _read_time(state) < _OLDEST
        ]
        for start in range(0, len(due), _MOST_GAMES):
            await self._send(due[start : start + _MOST_GAMES])
        published = {**self._published, **{state.game_id: (state, now) for state in due}}
        self._published = {game_id: each for game_id, each in published.items() if game_id in states}

    async def _send(self, states: Sequence[Game]) -> None:
        """Publish states; if they are refused, each alone: one damaged game does not hold up the others."""
        try:
            await self._client.publish_games(states)
        except InvalidArgumentError as error:
            if len(states) == 1:
                _log.info("poll.game_not_published", game_id=states[0].game_id, reason=str(error))
                return
            for state in states:
                await self._send([state])

    def _has_age(self) -> bool:
        return bool(self._official or self._poller.games)

    async def _repeat(self, send: Callable[[], Awaitable[None]], seconds: float, ready: Callable[[], bool]) -> None:
        """Send again and again while the poller leads, and there is something to send.

        Logs each refusal once, and waits longer after it, until a token or this program changes.
        """
        refused = ""
        while True:
            pause, self._led = PUBLISH_SECONDS, self._poller.leads
            if not self._led:
                self._published = {}
            elif ready():
                pause = seconds
                try:
                    await send()
                    refused = ""
                except PASSING:
                    pass  # the poller itself reports that the server is away
                except DejavuClientError as error:
                    pause = max(pause, self._report_seconds)
                    if str(error) != refused:
                        refused = str(error)
                        _log.info("poll.not_published", what=send.__name__, reason=refused)
            await asyncio.sleep(pause)


def state_of(game: WatchedGame, line: GameLine | None, now: datetime) -> Game:
    """Return the state of a game as it is published.

    Args:
        game: the game.
        line: its line; None if none is known.
        now: the time, aware.
    """
    state, play = game.state, game.last_play
    period, clock, score, text, read = state.period, state.clock, state.score, state.text, game.state_time
    in_play = state.status is FeedStatus.LIVE and not game.postponed
    if in_play and play is not None and game.plays_time is not None:
        read = max(read, game.plays_time)
        if clock is None or play.elapsed > elapsed_seconds(state.period, clock):
            period, clock, score, text = play.period, play.clock, (play.home, play.away), ""
    message = Game(
        game_id=state.game_id,
        home_team=state.home,
        away_team=state.away,
        status=GameStatus.GAME_STATUS_POSTPONED if game.postponed else _STATUSES[state.status],
        status_text="".join(character if character.isprintable() else " " for character in text).strip(),
        home_score=score[0],
        away_score=score[1],
        period=period,
        seconds_left=clock if in_play else None,
    )
    if line is not None:
        put_line(message, line)
    message.observed_time.FromDatetime(min(read, now))
    if state.tip_off is not None and abs(state.tip_off - now) <= _TIP_OFF_WITHIN:
        message.tip_off_time.FromDatetime(state.tip_off)
    return message


def _read_time(state: Game) -> datetime:
    return state.observed_time.ToDatetime(UTC)


def _is_due(state: Game, now: datetime, before: Game | None = None, published: datetime | None = None) -> bool:
    """Return whether a state is to be published, `before` being the one published last, and when that was."""
    if before is None or published is None:
        return True
    age = now - published
    if age.total_seconds() > (LIVE_SECONDS if state.status == GameStatus.GAME_STATUS_LIVE else REST_SECONDS):
        return True
    return _content(state) != _content(before)


def _content(state: Game) -> Sequence[object]:
    """Return the values of a state without the times at which it and its line were read."""
    return [(field.name, value) for field, value in state.ListFields() if field.name not in _READ_TIMES]
