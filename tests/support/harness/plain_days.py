"""Evenings with feed faults on plain data: `step` without JSON, threads and an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tests.support.fakes.plain_feed import PlainFeed
from tests.support.harness.bad_days import FaultyDay

from dejavu_client.poller.capabilities import capabilities_of
from dejavu_client.poller.events import Event
from dejavu_client.poller.horizons import FIRST_MINUTE, forecast_minutes
from dejavu_client.poller.predictor import load_recorded, report_outcome
from dejavu_client.poller.step import first_seen, step
from dejavu_client.poller.transition import (
    Effect,
    EffectFailed,
    ForecastsAnswered,
    HistoryRead,
    Knowledge,
    ModelRead,
    Observation,
    OutcomeAnswered,
    PlaysRead,
    Read,
    ReadHistory,
    ReportOutcome,
    RequestForecasts,
    StateRead,
    TurnStarted,
)
from dejavu_client.poller.watched_game import PollBackoff, WatchedGame
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.errors import FeedError
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import ReplayGame

T = TypeVar("T")
MINUTES = {horizon: forecast_minutes(horizon, FIRST_MINUTE, 1) for horizon in (HALFTIME, FINAL)}
"""The minutes that a poller forecasts by default."""


@dataclass
class Watcher:
    """What a poller knows: the games, and how often the scoreboard failed in a row."""

    games: dict[str, WatchedGame] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    backoff: PollBackoff = field(default_factory=PollBackoff)


class PlainDay(FaultyDay):
    """A day with faults, watched on plain data.

    Attributes:
        feed: the feed of all watchers.
    """

    def __init__(self, games: Sequence[ReplayGame], kinds: Sequence[FeedFaultKind] = (), **options: Any) -> None:
        super().__init__(games, kinds, **options)
        self.feed = PlainFeed(self.replay, self.faulty, self.clock)
        self._model = capabilities_of(self.predictor.models)

    def run(self, *, restart: float | None = None) -> Watcher:
        """Watches the whole evening; with `restart`, a new watcher takes over at this many life seconds of the day."""
        if restart is not None:
            self.watch(Watcher(), self.life(restart))
        last = Watcher()
        self.watch(last, self.end)
        return last

    def watch(self, watcher: Watcher, until: datetime, *, turn: float | None = None) -> None:
        """Runs turns until a time: one each `turn` seconds, or by default more often near the end of a half."""
        while self.clock.now < until:
            seconds = turn or self.turn_seconds()
            self._turn(watcher)
            self.clock.step(seconds)

    def _turn(self, watcher: Watcher) -> None:
        if watcher.backoff.skip:
            watcher.backoff = watcher.backoff.waited()
        else:
            self._read_scoreboard(watcher)
        for game_id in list(watcher.games):
            hidden = game_id not in watcher.shown or watcher.backoff.failures >= 3
            self._observe(watcher, game_id, TurnStarted(busy=False, hidden=hidden))

    def _read_scoreboard(self, watcher: Watcher) -> None:
        try:
            board = self.feed.scoreboard()
        except FeedError:
            watcher.backoff = watcher.backoff.failed()
            return
        watcher.backoff = PollBackoff()
        for state in board.games:
            if state.game_id in watcher.games:
                self._observe(watcher, state.game_id, StateRead(state, busy=False))
            else:
                game, effects = first_seen(state, self._knowledge(), day=board.date, minutes=MINUTES, to_report=True)
                watcher.games[state.game_id] = game
                self._perform(watcher, state.game_id, effects)
        watcher.shown = {state.game_id for state in board.games}

    def _knowledge(self) -> Knowledge:
        return Knowledge(self.clock.now, self._model)

    def _observe(self, watcher: Watcher, game_id: str, observation: Observation) -> None:
        game, effects = step(watcher.games[game_id], observation, self._knowledge())
        watcher.games[game_id] = game
        self._perform(watcher, game_id, effects)

    def _perform(self, watcher: Watcher, game_id: str, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Event):
                self.note(effect)
            else:
                self._observe(watcher, game_id, self._answer(watcher.games[game_id], effect))

    def _answer(self, game: WatchedGame, effect: Effect) -> Observation:
        state = game.state
        match effect:
            case Read.PLAYS:
                plays = tried(self.feed.plays, state.game_id)
                return EffectFailed(effect, plays) if isinstance(plays, FeedError) else PlaysRead(plays, state.status)
            case Read.BOX_SCORE:
                shown = tried(self.feed.game, state.game_id)
                if isinstance(shown, FeedError):
                    return EffectFailed(effect, shown)
                return StateRead(shown, busy=False, in_box_score=True)
            case Read.MODEL:
                return ModelRead()
            case ReadHistory(version):
                return HistoryRead(completed(load_recorded(self.predictor, state.game_id, version)))
            case RequestForecasts(due):
                answers = [self.predictor.forecast(state, each.horizon, each.pattern) for each in due]
                return ForecastsAnswered(due, answers)
            case ReportOutcome(outcome):
                return OutcomeAnswered(outcome, completed(report_outcome(self.predictor, outcome)))
            case _:
                raise AssertionError("an event has no answer")


def tried(read: Callable[[str], T], game_id: str) -> T | FeedError:
    """Returns what a read of the feed gives, or its error."""
    try:
        return read(game_id)
    except FeedError as error:
        return error


def completed(work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits for something")
