"""Poller: reads the feed in turns, and makes the calls of each game's steps (game_steps.py)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final, Self, TypeVar

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError, FailedPreconditionError, UnimplementedError
from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.clock import utc_now
from dejavu_feed.errors import FeedError
from dejavu_feed.game_ids import is_all_star, is_replay
from dejavu_feed.nba.live_feed import Feed
from dejavu_feed.nba.live_payloads import GameStatus, PlayByPlay, Scoreboard
from dejavu_feed.nba.plays import Play, completed_minutes
from dejavu_poller import events, forecasting, game_steps, predictor
from dejavu_poller.box_scores import BoxScores
from dejavu_poller.enricher import Enricher
from dejavu_poller.event_files import EventFiles
from dejavu_poller.horizons import FIRST_MINUTE, forecast_minutes
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.leadership import LeaderElection, Leadership
from dejavu_poller.lines import LINES, GameLines
from dejavu_poller.moments import DEFAULT_PACE
from dejavu_poller.predictor import CapabilityCache, advice, unsupported
from dejavu_poller.prices import PRICES, PriceFile
from dejavu_poller.reads import READ_TIMEOUT, FeedReads, read_in_thread
from dejavu_poller.reporting import MAX_WATCHED, forgettable, is_done, next_report, take_report
from dejavu_poller.summary import Summary, summarize
from dejavu_poller.watched_game import (
    MAY_PASS,
    DueForecast,
    DueMoment,
    Knowledge,
    PendingOutcome,
    PollBackoff,
    Transition,
    WatchedGame,
    watched_horizons,
)

EventT = TypeVar("EventT", bound=events.Event)
Callback = Callable[[EventT], Awaitable[None] | None]

log = get_logger()


__all__ = ["DEFAULT_END_INTERVAL", "DEFAULT_INTERVAL", "LINES", "PRICES", "SERVER", "Callback", "Poller"]

DEFAULT_INTERVAL: Final = 10.0
DEFAULT_END_INTERVAL: Final = 3.0
SERVER: Final = "server"
"""Source of server faults that do not concern a single game."""
_ELECTION_SECONDS: Final = 0.1
_BOXSCORES_AFTER_FAILURES: Final = 3
"""Consecutive failures of the scoreboard after which games are looked up by their box scores."""


@dataclass(frozen=True, slots=True)
class _Health:
    """Health of a source that all games need: why it failed last, "" after a success, and when to ask it again."""

    failure: str = ""
    backoff: PollBackoff = field(default_factory=PollBackoff)


@dataclass(slots=True)
class _Board:
    """What the scoreboard shows.

    Attributes:
        time: when it was last read; None before the first read.
        day: its date at the first read; it may change to the next day.
        shown: ids of its games.
        skipped: ids of games that are not followed, while it shows them.
        waiting: number of games that wait until others are forgotten.
    """

    time: datetime | None = None
    day: str = ""
    shown: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    waiting: int = 0


class Poller:
    """Watches an evening of games until it is stopped.

    Args:
        feed: source of the games; read in threads, one at a time per source.
        client: requests forecasts and reports outcomes.
        interval: seconds between the starts of two turns.
        end_interval: seconds between two reads of the plays of a game in its last three minutes or in overtime; if it
            is not less than `interval`, such games are read with the others.
        horizons: horizons to forecast: `HALFTIME`, `FINAL`, or both.
        from_minute: first minute of play after which to forecast, 1 to 47.
        every: minutes between two forecasts.
        pace: seconds of play between two forecasts within a minute; in the last minutes, every play has one. 0: none.
        report: whether to report the outcomes of every half and every game to the server, even if not forecast.
        election: decides whether this poller works, or waits while another one works; None: it works.
        on_prediction: callbacks for forecasts; called once per ledger sequence.
        on_event: callbacks for all events, including forecasts.
        event_files: where to keep the events of all games; None: they are not kept.
        lines: lines of the games; None: forecasts use the ratings of the teams.
        prices: current prices, to record beside forecasts of the end; None: none.
        box_scores: players of the games; None: forecasts and reports are made without them.
        read_timeout: seconds after which a read of the feed is given up.
        now: wall clock, timezone-aware.

    Raises:
        ValueError: if the options leave no minute to forecast.

    Callbacks may be coroutine functions. A callback that raises is logged and does not affect anything else.

    Attributes:
        games: the games by id, in the scoreboard's order; each is immutable and replaced as it changes. Games that
            the feed no longer shows are forgotten some days later (`reporting.KEPT`), or once there are too many
            (`reporting.MAX_WATCHED`).
        lines: lines of the games; without `lines`, of none.
        minutes: for each horizon, the minutes after which it is forecast.
        leadership: which poller works, as far as is known; None without an election.
        limits: description of the unsupported part of `minutes`; "" if there is none, or if unknown.
        outdated_ratings: notice of the ratings of the server's model that are too old for today's games; "" if none
            are, if unknown, or while all games are replays.
    """

    def __init__(
        self,
        feed: Feed,
        client: AsyncDejavuClient,
        *,
        interval: float = DEFAULT_INTERVAL,
        end_interval: float = DEFAULT_END_INTERVAL,
        horizons: Collection[Horizon.ValueType] = (HALFTIME, FINAL),
        from_minute: int = FIRST_MINUTE,
        every: int = 1,
        pace: float = DEFAULT_PACE,
        report: bool = True,
        election: LeaderElection | None = None,
        on_prediction: Sequence[Callback[events.Prediction]] = (),
        on_event: Sequence[Callback[events.Event]] = (),
        event_files: EventFiles | None = None,
        lines: GameLines | None = None,
        prices: PriceFile | None = None,
        box_scores: BoxScores | None = None,
        read_timeout: float = READ_TIMEOUT,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if from_minute < 1 or every < 1:
            raise ValueError(f"from_minute={from_minute}, every={every}; expected 1 or more")
        minutes = {horizon: forecast_minutes(horizon, from_minute, every) for horizon in horizons}
        self.minutes = MappingProxyType({horizon: each for horizon, each in minutes.items() if each})
        if not self.minutes:
            raise ValueError(f"from_minute={from_minute} leaves nothing to forecast; expected less, or other horizons")
        self.games: dict[str, WatchedGame] = {}
        self.limits = ""
        self.outdated_ratings = ""
        self.leadership = None if election is None else Leadership()
        self._feed = feed
        self._client = client
        self._model = CapabilityCache(client.list_models, now)
        self._keeps_record = True
        self._report = report
        self._election = election
        self._read = partial(read_in_thread, seconds=read_timeout)
        self._interval, self._end_interval, self._pace = interval, end_interval, pace
        self._on_prediction, self._on_event = tuple(on_prediction), list(on_event)
        self._faults: dict[str, frozenset[str]] = {}
        self._now = now
        self._board = _Board()
        self._reads = FeedReads()
        self._health = {SERVER: _Health(), game_steps.SCOREBOARD: _Health()}
        self.lines = lines or GameLines(now)
        self._enrichers = [each for each in (lines, box_scores, prices, event_files) if each is not None]
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop `run` and cancel reads and calls in progress. Threads that wait for the feed are abandoned."""
        self.stop()
        await self._reads.close()

    def add_callback(self, callback: Callback[events.Event]) -> None:
        """Add a callback for all events from now on."""
        self._on_event.append(callback)

    def stop(self) -> None:
        """End `run` at once. Call it in the event loop, e.g. from one of its signal handlers."""
        self._stop.set()
        self._woken.set()

    def summary(self) -> Summary:
        """Return the statistics of the evening so far."""
        return summarize(self.games.values(), self.minutes)

    async def run(self, *, until_final: bool = False) -> None:
        """Run turns until `stop`.

        Args:
            until_final: whether to also end once every game of the scoreboard is over, read to its end, and reported.
        """
        loop = asyncio.get_running_loop()
        next_turn = loop.time()
        async with nullcontext() if self._election is None else self._election.running(self._woken.set):
            while not self._stop.is_set():
                self._woken.clear()
                await self._follow_election()
                is_turn = loop.time() >= next_turn
                if is_turn:
                    next_turn = loop.time() + self._interval
                if self.leadership != Leadership():  # otherwise it is not known yet whether this poller works
                    self.turn(only_ends=not is_turn)
                try:
                    async with asyncio.timeout_at(min(next_turn, loop.time() + self._end_interval)):
                        await self._woken.wait()
                        next_turn = loop.time()
                except TimeoutError:
                    if until_final and self.leads and self._nothing_left():
                        return

    @property
    def leads(self) -> bool:
        """Whether this poller leads, and has started again for its current term."""
        election = self._election
        return election is None or (election.leads and self.leadership == election.status)

    @property
    def scoreboard_time(self) -> datetime | None:
        """When the scoreboard was last read; None before the first read."""
        return self._board.time

    @property
    def scoreboard_failure(self) -> str:
        """Why the last read of the scoreboard failed; "" if it succeeded."""
        return self._health[game_steps.SCOREBOARD].failure

    @property
    def server_failure(self) -> str:
        """Why the server did not answer when it was last asked; "" if it did, or was not asked yet."""
        return self._health[SERVER].failure

    async def _follow_election(self) -> None:
        """Start again, as after a restart, when the leadership changes.

        The track record has the forecasts of other leaders.
        """
        if self._election is None or self.leadership == self._election.status:
            return
        self.leadership = status = self._election.status
        if self.games:
            await self._reads.close()
            self._forget(list(self.games))
            self._board = _Board()
        await self._emit(events.LeadershipChanged(status))

    def turn(self, *, only_ends: bool = False) -> None:
        """Start reads of the scoreboard and the live games, except for sources still being read.

        There are no games while another poller works: then only the scoreboard is read, to be ready to take over.

        Checks the server's health too: before the first forecast is due, nothing else would show that it is down.

        Args:
            only_ends: whether to read only the plays of games that are in their last three minutes or in overtime.
        """
        if only_ends:
            for game_id in [game_id for game_id, game in self.games.items() if game.is_ending]:
                self._start_turn(game_id)
            return
        self._forget_old()  # before the turn's reads, because a game that is being read is not forgotten
        for source, read in ((SERVER, self._check_server), (game_steps.SCOREBOARD, self._read_scoreboard)):
            health = self._health[source]
            if source not in self._reads and health.backoff.skip:
                self._health[source] = _Health(health.failure, health.backoff.waited())
            else:
                self._reads.start(source, read, partial(self._failed, source))
        for enricher in self._enrichers:
            self._start_read(enricher)
        for game_id in self.games:
            self._start_turn(game_id)

    def _start_turn(self, game_id: str) -> None:
        step = self._step(game_id)
        if game_id not in self._reads:
            if step.game.needs_plays and not step.game.backoff.skip:
                self._start_plays(game_id)
            else:
                if step.game.needs_plays:
                    step.set(backoff=step.game.backoff.waited())
                if (outcome := next_report(step, this_turn=True)) is not None:
                    failed = partial(self._not_done, game_id, "report_backoff")
                    self._reads.start(game_id, partial(self._report_outcomes, game_id, outcome), failed)
        is_down = self._health[game_steps.SCOREBOARD].backoff.failures >= _BOXSCORES_AFTER_FAILURES
        hidden = game_id not in self._board.shown or is_down
        # The scoreboard may switch to the next day while a long game is still live.
        if hidden and _box_score(game_id) not in self._reads and step.game.needs_box_score(self._now()):
            if step.game.box_backoff.skip:
                step.set(box_backoff=step.game.box_backoff.waited())
            else:
                failed = partial(self._not_done, game_id, "box_backoff")
                self._reads.start(_box_score(game_id), partial(self._read_box_score, game_id), failed)

    async def idle(self) -> None:
        """Wait until no read is in progress."""
        await self._reads.idle()

    def _nothing_left(self) -> bool:
        """Return whether all games of the first day shown are done; the scoreboard may have changed to the next day."""
        if self._reads or self._board.time is None:
            return False
        first_day = [game for game in self.games.values() if game.day in {"", self._board.day}]
        return all(is_done(game, keeps_record=self._keeps_record) for game in first_day)

    def _knowledge(self) -> Knowledge:
        return Knowledge(self._now(), self._model.known, self._keeps_record, self._pace)

    def _step(self, game_id: str) -> Transition:
        return Transition(self.games, game_id, self._knowledge)

    async def _emit_all(self, step: Transition) -> None:
        """Emit the events of a step."""
        events, step.events = step.events, []
        for event in events:
            await self._emit(event)

    def _start_plays(self, game_id: str) -> None:
        self._reads.start(game_id, partial(self._read_plays, game_id), partial(self._plays_failed, game_id))

    async def _plays_failed(self, game_id: str, error: FeedError) -> None:
        step = self._step(game_id)
        game_steps.fail(step, error)
        await self._emit_all(step)

    async def _not_done(self, game_id: str, name: str, error: FeedError) -> None:
        """Note that a read of the box score failed, or a report by an error of the poller; `name` is its backoff."""
        backoff = getattr(self.games[game_id], name).failed()
        self._step(game_id).set(**{name: backoff})
        await self._emit(events.fault_of(game_id, error, backoff.failures))

    async def _follow_plays(self, game_id: str, read: PlayByPlay, status: GameStatus) -> None:
        """Forecast from plays, and report the outcomes that they show."""
        step = self._step(game_id)
        taken = game_steps.take_plays(step, read, status)
        if taken is None:
            await self._emit_all(step)
            return
        stale = ""
        try:
            stale = await self._forecast(step, taken.plays)
        except DejavuClientError as error:
            game_steps.miss_model(step, taken.plays, error)
        outcome, moments = game_steps.finish(step, taken, stale)
        await self._emit_all(step)
        if outcome is not None:
            await self._report_outcomes(game_id, outcome)
        elif moments:
            game_steps.take_moments(step, moments, await self._request(game_id, moments))

    async def _forecast(self, step: Transition, plays: Sequence[Play]) -> str:
        """Request the forecasts that are due; return why the plays are too old, or "".

        Raises:
            DejavuClientError: if the server does not tell its model.
        """
        model = None
        if step.game.history_attempts:
            await self._emit_all(step)
            model = await self._read_model()
            attempts = step.game.history_attempts - 1
            recorded = await self._read_history(step.game_id, model.version)
            # Without an answer, retry in a later turn. Minutes reported as missed until then no longer count as missed
            # once forecasts are loaded.
            step.set(history_attempts=attempts if recorded is None else 0)
            if recorded is not None:
                forecasting.restore(step, recorded, completed_minutes(plays), model)
        if not game_steps.can_forecast(step, plays):
            return ""
        await self._emit_all(step)
        if model is None:
            model = await self._read_model()
        due, stale = forecasting.take_due(step, plays, model)
        if due:
            await self._emit_all(step)
            forecasting.take_answers(step, due, await self._request(step.game_id, due))
        return stale

    async def _until_leading(self) -> None:
        while not self.leads:  # noqa: ASYNC110 - a clock decides; `_follow_election` ends this if another one works
            await asyncio.sleep(_ELECTION_SECONDS)

    async def _request(
        self, game_id: str, due: Sequence[DueForecast] | Sequence[DueMoment]
    ) -> list[Forecast | DejavuClientError]:
        """Request forecasts with the inputs of the enrichers, once this poller leads."""
        await self._until_leading()
        inputs = ForecastInputs()
        for enricher in self._enrichers:
            await enricher.enrich(self.games[game_id], [len(each.pattern) for each in due], inputs)
            await self._announce_faults(enricher)
        answers = await predictor.request_forecasts(self._client, self.games[game_id].state, due, inputs)
        for enricher in self._enrichers:
            for event in await enricher.answered(self.games[game_id], inputs, answers):
                await self._emit(event)
        if any(
            isinstance(each, FailedPreconditionError) and each.reason != predictor.OUTCOME_KNOWN for each in answers
        ):
            self._model.forget()  # the server refused a request that its model reportedly supports
        return answers

    async def _report_outcomes(self, game_id: str, outcome: PendingOutcome | None) -> None:
        """Report an outcome of a game, and those that can be reported after it, while this poller leads."""
        step = self._step(game_id)
        while outcome is not None:
            await self._until_leading()
            players = [line for enricher in self._enrichers for line in await enricher.players(outcome)]
            answer: ReportOutcomeResponse | DejavuClientError
            try:
                answer = await predictor.report_outcome(self._client, outcome, players)
            except DejavuClientError as error:
                answer = error
            outcome = take_report(step, outcome, answer)
            if isinstance(answer, UnimplementedError):
                self._keeps_record = False
            await self._emit_all(step)

    async def _read_model(self) -> Model:
        """Return the server's model, and report what it cannot do.

        Raises:
            DejavuClientError: if the server has never told it.
        """
        model = await self._model.get()
        limits = unsupported(model, self.minutes)
        if limits != self.limits:
            self.limits = limits
            if limits:
                await self._emit(events.ModelLimits(model.version, limits))
        outdated = "" if self._replays_only else advice(model)
        if outdated != self.outdated_ratings:
            self.outdated_ratings = outdated
            if outdated:
                await self._emit(events.RatingsOutdated(model.version, outdated))
        return model

    @property
    def _replays_only(self) -> bool:
        """Whether all games are replays, which have dates of their own; True if there are no games."""
        return all(map(is_replay, self.games))

    async def _read_history(
        self, game_id: str, version: str
    ) -> Mapping[Horizon.ValueType, Mapping[int, events.MinuteForecast]] | None:
        """Return the forecasts recorded before this poller started; None if the server did not answer."""
        try:
            return await predictor.load_recorded(self._client, game_id, version)
        except MAY_PASS:
            return None
        except DejavuClientError:  # a server without a track record
            return {}

    async def _read_scoreboard(self) -> None:
        read = await self._read(self._feed.scoreboard)
        await self._answered(game_steps.SCOREBOARD)
        self._board.time = self._now()
        for enricher in self._enrichers:
            await enricher.follow(read.games, leads=self.leads)  # also to be ready to take over
        if self.leads:
            await self._follow(read)

    async def _follow(self, read: Scoreboard) -> None:
        """Follow the games of a scoreboard."""
        board = self._board
        board.day = board.day or read.date
        board.shown = frozenset(state.game_id for state in read.games)
        board.waiting = 0
        for state in read.games:
            if is_all_star(state.game_id):
                if state.game_id not in board.skipped:
                    await self._emit(events.GameSkipped(state, "an All-Star game, which no model covers"))
                board.skipped = frozenset({state.game_id, *(board.skipped & board.shown)})
                continue
            step = self._step(state.game_id)
            if state.game_id in self.games:
                to_read = game_steps.take_state(step, state, busy=state.game_id in self._reads)
            elif len(self.games) >= MAX_WATCHED:
                board.waiting += 1  # the game waits until others are forgotten
                continue
            else:
                self.games[state.game_id] = WatchedGame(
                    state,
                    self._now(),
                    day=read.date,
                    horizons=watched_horizons(self.minutes),
                    to_report=self._report,
                    # Before its tip-off there are no recorded forecasts to load.
                    history_attempts=0 if state.status is GameStatus.SCHEDULED else game_steps.HISTORY_ATTEMPTS,
                )
                to_read = game_steps.state_changed(step, busy=False)
            await self._emit_all(step)
            if to_read:
                self._start_plays(state.game_id)
        crowded = [f"more than {MAX_WATCHED} games; the rest is followed once others are forgotten"]
        faults = frozenset((*map(str, read.faults), *crowded[: board.waiting]))
        await self._emit_faults(game_steps.SCOREBOARD, faults, events.FaultKind.MALFORMED)

    def _forget_old(self) -> None:
        """Forget games that the scoreboard no longer shows: old ones, and one for each game that waits for a place."""
        busy = {game_id for game_id in self.games if game_id in self._reads or _box_score(game_id) in self._reads}
        kept, room = self._board.shown | busy, MAX_WATCHED - self._board.waiting
        self._forget(forgettable(self.games, kept, self._now(), room, keeps_record=self._keeps_record))

    def _forget(self, game_ids: Sequence[str]) -> None:
        for game_id in game_ids:
            del self.games[game_id]
            for enricher in self._enrichers:
                enricher.forget(game_id)

    async def _check_server(self) -> None:
        try:
            await predictor.check_server(self._client)
        except DejavuClientError as error:
            await self._failed(SERVER, error)
        else:
            await self._answered(SERVER)
            if not self._replays_only:
                with suppress(
                    DejavuClientError
                ):  # before the first forecast is due: there is time to refresh old ratings
                    await self._read_model()

    async def _answered(self, source: str) -> None:
        """Note that a source answers; report it, if it failed before."""
        if self._health[source].failure:
            await self._emit(events.Recovered(source))
        self._health[source] = _Health()

    async def _failed(self, source: str, error: FeedError | DejavuClientError) -> None:
        self._health[source] = health = _Health(str(error), self._health[source].backoff.failed())
        await self._emit(events.fault_of(source, error, health.backoff.failures))

    async def _read_box_score(self, game_id: str) -> None:
        """Read the box score of a game that the scoreboard no longer shows."""
        state = await self._read(self._feed.game, game_id)
        step = self._step(game_id)
        to_read = game_steps.take_state(step, state, busy=game_id in self._reads, in_box_score=True)
        await self._emit_all(step)
        if to_read:
            self._start_plays(game_id)

    async def _read_plays(self, game_id: str) -> None:
        status = self.games[game_id].state.status
        read = await self._read(self._feed.plays, game_id)
        reads = self.games[game_id].reads
        await self._follow_plays(game_id, read, status)
        if game_id in self.games and self.games[game_id].reads > reads:
            for enricher in self._enrichers:
                for event in await enricher.keep(game_id, read.events):
                    await self._emit(event)

    def _start_read(self, enricher: Enricher) -> None:
        async def read() -> None:
            await enricher.read()
            await self._announce_faults(enricher)

        self._reads.start(enricher.source, read, lambda error: self._emit(events.fault_of(enricher.source, error)))

    async def _announce_faults(self, enricher: Enricher) -> None:
        await self._emit_faults(enricher.source, enricher.faults, events.FaultKind.UNAVAILABLE)

    async def _emit_faults(self, source: str, faults: frozenset[str], kind: events.FaultKind) -> None:
        """Emit the faults that a source has now, each once until it has passed."""
        for fault in sorted(faults - self._faults.get(source, frozenset())):
            await self._emit(events.Fault(source, fault, kind=kind))
        self._faults[source] = faults

    async def _emit(self, event: events.Event) -> None:
        """Call the callbacks with an event."""
        if isinstance(event, events.Fault):  # at level info: users see the event
            log.info("poll.fault", source=event.source, reason=event.reason, failures=event.failures)
        if isinstance(event, events.Prediction):
            await _call(self._on_prediction, event)
        await _call(self._on_event, event)


async def _call(callbacks: Iterable[Callback[EventT]], event: EventT) -> None:
    for callback in callbacks:
        try:
            result = callback(event)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("poll.callback_failed", callback=repr(callback), happened=type(event).__name__)


def _box_score(game_id: str) -> str:
    return f"box score of {game_id}"
