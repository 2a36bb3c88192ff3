"""The notifier: follows forecasts, outcomes and states of a server, and hands messages of its rules to the delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.game_service_pb2 import GameStatus, StreamGamesResponse
from dejavu.v1.prediction_service_pb2 import Heartbeat, StreamPredictionsResponse
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import PASSING, DejavuClientError, OutOfRangeError
from dejavu_client.logs import get_logger
from dejavu_client.requests import Conditions
from dejavu_common.clock import EPOCH, Backoff, utc_now
from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_poller.notify.conditions import (
    CURRENT,
    Found,
    GameView,
    Message,
    Told,
    correction,
    holds,
    message,
    silence,
    values_of,
)
from dejavu_poller.notify.rules import FeedSilentRule, GameRule, PollerSilentRule, Rules, rule_name

CORRECTED: Final = "corrected"
"""Kind of a message that corrects one of another kind."""

SILENCE_SECONDS: Final = 15.0
"""Interval at which the rules for a silent feed or poller are checked."""

MAX_GAMES: Final = 1000
"""Maximum number of games that are followed; the ones of the earliest ids are dropped."""

_PAGE: Final = 500

EventT = TypeVar("EventT", StreamPredictionsResponse, StreamGamesResponse)

_log = get_logger()


class RuleNotifier:
    """Checks rules after every event of a server.

    Args:
        client: reads streams and the record.
        rules: the rules.
        tell: called with each message and the name of a target; other notifiers may tell the same one.
        replays: whether games of replays are told too.
    """

    def __init__(
        self,
        client: AsyncDejavuClient,
        rules: Rules,
        tell: Callable[[Message, str], None],
        *,
        replays: bool = False,
    ) -> None:
        self._client = client
        self._rules = rules
        self._tell = tell
        self._replays = replays
        self._ahead = timedelta()
        self._games = dict[str, GameView]()
        self._silences = set[str]()
        self._game_rules: Sequence[GameRule] = [
            rule for rule in rules.rules if not isinstance(rule, FeedSilentRule | PollerSilentRule)
        ]

    async def run(self) -> None:
        """Follow the server until cancelled.

        Raises:
            DejavuClientError: if the server refuses the streams.
        """
        forecasts = partial(self._client.stream_predictions, include_current=True, heartbeats=True)
        games = partial(self._client.stream_games, heartbeats=True)
        tasks = [
            asyncio.create_task(self._follow("forecasts", forecasts, self._take_forecast), name="notify forecasts"),
            asyncio.create_task(self._follow("games", games, self._take_game), name="notify games"),
            asyncio.create_task(self._follow_silences(), name="notify silences"),
        ]
        try:
            for done in (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]:
                done.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def now(self) -> datetime:
        """The time by the server's clock, as far as its heartbeats show it: ages are by its times."""
        return utc_now() + self._ahead

    async def _follow(
        self, what: str, stream: Callable[[], AsyncGenerator[EventT, None]], take: Callable[[EventT], Awaitable[None]]
    ) -> None:
        """Take the events of a stream, which is opened again after each failure that may pass."""
        backoff = Backoff(0.5, 10.0)
        while True:
            try:
                async with aclosing(stream()) as events:
                    async for event in events:
                        backoff.reset()
                        if event.HasField("heartbeat"):
                            self._set_clock(event.heartbeat)
                        else:
                            await take(event)
            except OutOfRangeError:
                for game in self._games.values():
                    game.was_read = False  # outcomes may have passed unseen
            except PASSING as error:
                _log.warning(f"notify.no_{what}", error=str(error))
                await asyncio.sleep(backoff.next())

    async def _follow_silences(self) -> None:
        rules = [rule for rule in self._rules.rules if isinstance(rule, FeedSilentRule | PollerSilentRule)]
        while rules:
            await asyncio.sleep(SILENCE_SECONDS)
            games = [view.published for view in self._games.values() if view.published is not None]
            try:
                reported = (await self._client.get_service_stats()).feeds
            except DejavuClientError as error:
                _log.warning("notify.no_statistics", error=str(error))
                continue
            feeds = [each for each in reported if self._replays or each.feed != "replay"]
            for rule in rules:
                if (found := silence(rule, games, feeds, self.now)) is not None:
                    begun, texts = found
                    told = message(rule, texts, self._rules.name, begun, self.now)
                    if told.id not in self._silences:
                        self._silences.add(told.id)
                        self._put(rule, told)
        await asyncio.Event().wait()

    async def _take_forecast(self, event: StreamPredictionsResponse) -> None:
        match event.WhichOneof("event"):
            case "forecast" if (view := self._view(event.forecast.game_id)) is not None:
                view.add(event.forecast)
                await self._check(view)
            case "outcome" if event.outcome.horizon == HORIZON_FINAL:
                if (view := self._view(event.outcome.game_id)) is not None:
                    view.outcome, view.was_read = event.outcome, False
                    await self._check(view)

    async def _take_game(self, event: StreamGamesResponse) -> None:
        if (view := self._view(event.game.game_id)) is not None:
            view.published = event.game
            await self._check(view)

    async def _check(self, view: GameView) -> None:
        """Tell the rules that hold now and were not told."""
        published = view.published
        if not view.was_read and (published is None or published.status != GameStatus.GAME_STATUS_SCHEDULED):
            conditions = Conditions(
                game_id=view.game_id, horizon=HORIZON_FINAL, include_replays=self._replays, owners_only=True
            )
            try:
                await view.read(self._client.list_predictions(page_size=_PAGE, **conditions))
            except PASSING as error:
                _log.warning("notify.record_not_read", game_id=view.game_id, error=str(error))
        for rule in self._game_rules:
            name, told = rule_name(rule), view.told.get(rule_name(rule))
            if told is None:
                if (found := holds(rule, view, self.now)) is not None:
                    view.told[name] = Told(found, view.teams, view.score)
                    self._tell_game(rule, view, found)
            elif name not in view.corrected and (found := correction(rule, told, view, self.now)) is not None:
                view.corrected.add(name)
                self._tell_game(rule, view, found, CORRECTED)

    def _tell_game(self, rule: GameRule, view: GameView, found: Found, kind: str = "") -> None:
        """Tell a rule of a game; `kind` if it is not that of the rule."""
        link = f"{self._rules.page.rstrip('/')}/game/{view.game_id}" if self._rules.page else ""
        subject = f"{view.game_id}/{kind}" if kind else view.game_id
        told = message(rule, found, self._rules.name, subject, self.now)
        values = values_of(rule, view, self.now)
        self._put(rule, told._replace(kind=kind or rule.kind, game_id=view.game_id, link=link, values=values))

    def _put(self, rule: GameRule | FeedSilentRule | PollerSilentRule, told: Message) -> None:
        for target in self._rules.targets_of(rule):
            self._tell(told, target)

    def _view(self, game_id: str) -> GameView | None:
        """Return what is known of a game; None if it is not followed."""
        if game_id.startswith(REPLAY_PREFIX) and not self._replays:
            return None
        if game_id not in self._games:
            if len(self._games) >= MAX_GAMES:
                self._games.pop(min(self._games))
            self._games[game_id] = GameView(game_id)
        return self._games[game_id]

    def _set_clock(self, heartbeat: Heartbeat) -> None:
        sent = EPOCH + timedelta(microseconds=heartbeat.sent_time.ToMicroseconds())
        ahead = sent - utc_now()
        if abs(ahead) > CURRENT and abs(self._ahead) <= CURRENT:
            _log.warning("notify.clocks_differ", seconds=round(ahead.total_seconds()))
        self._ahead = ahead
