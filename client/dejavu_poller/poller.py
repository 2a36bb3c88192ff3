"""Poller: reads the feed in turns and does what `step` requests for each game."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final, Self, TypeVar

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError, FailedPreconditionError, UnimplementedError
from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.clock import utc_now
from dejavu_feed.box_score import Lineups, PlayerLine
from dejavu_feed.errors import FeedError
from dejavu_feed.events import Event as GameEvent
from dejavu_feed.game_ids import is_all_star, is_replay
from dejavu_feed.nba.live_feed import Feed
from dejavu_feed.nba.live_payloads import GameState
from dejavu_poller.box_scores import BoxScores
from dejavu_poller.capabilities import CapabilityCache
from dejavu_poller.event_files import EventFiles
from dejavu_poller.events import (
    Event,
    Fault,
    FaultKind,
    GameSkipped,
    LeadershipChanged,
    LineTaken,
    ModelLimits,
    Prediction,
    PricesTaken,
    RatingsOutdated,
    Recovered,
    feed_fault,
)
from dejavu_poller.horizons import FIRST_MINUTE, forecast_minutes
from dejavu_poller.leadership import LeaderElection, Leadership
from dejavu_poller.lines import GameLine, GameLines
from dejavu_poller.moments import DEFAULT_PACE
from dejavu_poller.predictor import (
    OUTCOME_KNOWN,
    SentPrices,
    check_server,
    load_recorded,
    report_outcome,
    request_forecasts,
    request_moments,
)
from dejavu_poller.prices import GamePrices, PriceFile
from dejavu_poller.reads import READ_TIMEOUT, FeedReads, read_in_thread
from dejavu_poller.reporting import MAX_WATCHED, forgettable, is_done
from dejavu_poller.state_machine import SCOREBOARD, Result, first_seen, step
from dejavu_poller.summary import Summary, summarize
from dejavu_poller.transition import (  # names of state_machine.py, whose requests this module carries out
    MAY_PASS,
    DueForecast,
    Effect,
    EffectFailed,
    ForecastsAnswered,
    HistoryRead,
    Knowledge,
    ModelRead,
    MomentsAnswered,
    Observation,
    OutcomeAnswered,
    PlaysRead,
    Read,
    ReadHistory,
    ReportOutcome,
    RequestForecasts,
    RequestMoments,
    StateRead,
    TurnStarted,
)
from dejavu_poller.watched_game import DueMoment, PendingOutcome, PollBackoff, WatchedGame

EventT = TypeVar("EventT", bound=Event)
DueT = TypeVar("DueT", DueForecast, DueMoment)
Callback = Callable[[EventT], Awaitable[None] | None]
Ask = Callable[
    [AsyncDejavuClient, GameState, Sequence[DueT], GameLine | None, Mapping[int, Lineups] | None, SentPrices],
    Awaitable[list[Forecast | DejavuClientError]],
]

DEFAULT_INTERVAL: Final = 10.0
DEFAULT_END_INTERVAL: Final = 3.0
SERVER: Final = "server"
"""Source of server faults that do not concern a single game."""
LINES: Final = "lines"
"""Source of faults of the lines."""
PRICES: Final = "prices"
"""Source of faults of the prices."""
_ELECTION_SECONDS: Final = 0.1
_BOXSCORES_AFTER_FAILURES: Final = 3
"""Consecutive failures of the scoreboard after which games are looked up by their box scores."""

log = get_logger()


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
        scoreboard_time: when the scoreboard was last read; None before the first read.
        scoreboard_failure: why the last read of the scoreboard failed; "" if it succeeded.
        minutes: for each horizon, the minutes after which it is forecast.
        server_failure: why the server did not answer when it was last asked; "" if it did, or was not asked yet.
        leadership: which poller works, as far as is known; None without an election.
        limits: description of the unsupported part of `minutes`; "" if there is none, or if unknown.
        outdated_ratings: notice of the ratings of the server's model that are too old for today's games; "" if none
            are, if unknown, or while all games are replays.
        game_lines: the line with which each game is forecast, by id, from its first forecast on; None if it has none.
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
        on_prediction: Sequence[Callback[Prediction]] = (),
        on_event: Sequence[Callback[Event]] = (),
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
        self.scoreboard_time: datetime | None = None
        self.scoreboard_failure = ""
        self.server_failure = ""
        self.limits = ""
        self.outdated_ratings = ""
        self.game_lines: dict[str, GameLine | None] = {}
        self._feed = feed
        self._client = client
        self._model = CapabilityCache(client.list_models, now)
        self._keeps_record = True
        self._report = report
        self._election = election
        self.leadership = None if election is None else Leadership()
        self._read = partial(read_in_thread, seconds=read_timeout)
        self._interval = interval
        self._end_interval = end_interval
        self._pace = pace
        self._on_prediction = tuple(on_prediction)
        self._on_event = list(on_event)
        self._now = now
        self._day = ""
        self._shown: frozenset[str] = frozenset()
        self._waiting = 0
        self._reads = FeedReads()
        self._backoffs = {SERVER: PollBackoff(), SCOREBOARD: PollBackoff()}
        self._faults: dict[str, frozenset[str]] = {}
        self._skipped: frozenset[str] = frozenset()
        self._event_files = event_files
        self._events_lost = False
        self._lines = lines
        self._prices = prices
        self._priced: set[str] = set()
        self._doubted: set[str] = set()
        self._box_scores = box_scores
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

    def add_callback(self, callback: Callback[Event]) -> None:
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

    def line_of(self, game_id: str) -> GameLine | None:
        """Return the line of a game, before its tip-off the newest one; None if none is known."""
        return None if self._lines is None else self._lines.newest(game_id)

    @property
    def line_faults(self) -> frozenset[str]:
        """Why lines are not read or not used now."""
        return self._faults.get(LINES, frozenset())

    async def _follow_election(self) -> None:
        """Start again, as after a restart, when the leadership changes.

        The track record has the forecasts of other leaders.
        """
        if self._election is None or self.leadership == self._election.status:
            return
        self.leadership = status = self._election.status
        if self.games:
            await self._reads.close()
            self.games.clear()
            self.game_lines.clear()
            self._day, self._shown, self.scoreboard_time = "", frozenset(), None
        await self._emit(LeadershipChanged(status))

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
        self._forget()  # before the turn's reads, because a game that is being read is not forgotten
        for source, read, failed in (
            (SERVER, self._check_server, self._server_check_failed),
            (SCOREBOARD, self._read_scoreboard, self._scoreboard_failed),
        ):
            if source not in self._reads and self._backoffs[source].skip:
                self._backoffs[source] = self._backoffs[source].waited()
            else:
                self._reads.start(source, read, failed)
        if self._lines is not None:
            self._reads.start(LINES, self._read_lines, lambda error: self._emit(feed_fault(LINES, error)))
        for game_id in self.games:
            self._start_turn(game_id)

    def _start_turn(self, game_id: str) -> None:
        hidden = game_id not in self._shown or self._backoffs[SCOREBOARD].failures >= _BOXSCORES_AFTER_FAILURES
        looking_up = _box_score(game_id) in self._reads
        for effect in self._step(game_id, TurnStarted(game_id in self._reads, hidden, looking_up)):
            self._start(game_id, effect)

    async def idle(self) -> None:
        """Wait until no read is in progress."""
        await self._reads.idle()

    def _nothing_left(self) -> bool:
        """Return whether all games of the first day shown are done; the scoreboard may have changed to the next day."""
        if self._reads or self.scoreboard_time is None:
            return False
        first_day = [game for game in self.games.values() if game.day in {"", self._day}]
        return all(is_done(game, keeps_record=self._keeps_record) for game in first_day)

    def _knowledge(self) -> Knowledge:
        return Knowledge(self._now(), self._model.known, self._keeps_record, self._pace)

    def _step(self, game_id: str, observation: Observation) -> list[Effect]:
        return self._keep(step(self.games[game_id], observation, self._knowledge()))

    def _keep(self, result: Result) -> list[Effect]:
        game, effects = result
        self.games[game.state.game_id] = game
        return effects

    def _start(self, game_id: str, effect: Effect) -> None:
        source, work = game_id, partial(self._run, game_id, [effect])
        if effect is Read.BOX_SCORE:
            source, work = _box_score(game_id), partial(self._read_box_score, game_id)
        elif effect is Read.PLAYS:
            work = partial(self._read_plays, game_id)
        self._reads.start(source, work, lambda error: self._observe(game_id, EffectFailed(effect, error)))

    async def _observe(self, game_id: str, observation: Observation) -> None:
        await self._run(game_id, self._step(game_id, observation))

    async def _run(self, game_id: str, effects: list[Effect]) -> None:
        """Carry out the requests of a transition, and the further requests that their answers cause."""
        while effects:
            follow_up: list[Effect] = []
            for effect in effects:
                if (answer := await self._do(game_id, effect)) is not None:
                    follow_up += self._step(game_id, answer)
                    if isinstance(answer, OutcomeAnswered) and isinstance(answer.answer, UnimplementedError):
                        self._keeps_record = False
            effects = follow_up

    async def _do(self, game_id: str, effect: Effect) -> Observation | None:
        """Start a read of the feed, emit an event, or return the answer or error of a request to the server."""
        if isinstance(effect, RequestForecasts | RequestMoments | ReportOutcome):
            while not self.leads:  # noqa: ASYNC110 - a clock decides; `_follow_election` ends this if another one works
                await asyncio.sleep(_ELECTION_SECONDS)
        match effect:
            case Read.PLAYS | Read.BOX_SCORE:
                self._start(game_id, effect)
            case Read.MODEL:
                return await self._read_model()
            case ReadHistory(version):
                return await self._read_history(game_id, version)
            case RequestForecasts(due):
                return ForecastsAnswered(due, await self._request(game_id, due, request_forecasts))
            case RequestMoments(moments):
                return MomentsAnswered(moments, await self._request(game_id, moments, request_moments))
            case ReportOutcome(outcome):
                return await self._report_outcome(game_id, outcome)
            case event:
                await self._emit(event)
        return None

    async def _request(self, game_id: str, due: Sequence[DueT], ask: Ask[DueT]) -> list[Forecast | DejavuClientError]:
        """Request forecasts with line, line-ups and prices of their game; report what is used for the first time."""
        line = None if self._lines is None else self._lines.of(game_id)
        minutes = [len(each.pattern) for each in due]
        seen = None if self._box_scores is None else await self._box_scores.lineups(game_id, minutes)
        sent = SentPrices(await self._current_prices(game_id))
        answers = await ask(self._client, self.games[game_id].state, due, line, seen, sent)
        await self._tell_line(game_id, line, answers)
        await self._tell_prices(game_id, sent)
        if any(isinstance(each, FailedPreconditionError) and each.reason != OUTCOME_KNOWN for each in answers):
            self._model.forget()  # the server refused a request that its model reportedly supports
        return answers

    async def _report_outcome(self, game_id: str, outcome: PendingOutcome) -> OutcomeAnswered:
        lines: tuple[PlayerLine, ...] = ()
        if self._box_scores is not None and outcome.horizon == FINAL:
            lines = await self._box_scores.final(game_id, outcome.differential)
        try:
            return OutcomeAnswered(outcome, await report_outcome(self._client, outcome, lines))
        except DejavuClientError as error:
            return OutcomeAnswered(outcome, error)

    async def _read_model(self) -> ModelRead:
        try:
            model = await self._model.get()
        except DejavuClientError as error:
            return ModelRead(error)
        limits = model.unsupported(self.minutes)
        if limits != self.limits:
            self.limits = limits
            if limits:
                await self._emit(ModelLimits(model.version, limits))
        outdated = "" if self._replays_only else model.advice
        if outdated != self.outdated_ratings:
            self.outdated_ratings = outdated
            if outdated:
                await self._emit(RatingsOutdated(model.version, outdated))
        return ModelRead()

    @property
    def _replays_only(self) -> bool:
        """Whether all games are replays, which have dates of their own; True if there are no games."""
        return all(map(is_replay, self.games))

    async def _read_history(self, game_id: str, version: str) -> HistoryRead:
        try:
            recorded = await load_recorded(self._client, game_id, version)
            if self._lines is not None:
                forecasts = (each.forecast for of in recorded.values() for each in of.values())
                await self._lines.restore(self.games[game_id].state, forecasts)
            return HistoryRead(recorded)
        except MAY_PASS:
            return HistoryRead(None)
        except DejavuClientError:  # a server without a track record
            return HistoryRead({})

    async def _read_scoreboard(self) -> None:
        board = await self._read(self._feed.scoreboard)
        await self._recovered(SCOREBOARD, self.scoreboard_failure)
        self.scoreboard_failure = ""
        self._backoffs[SCOREBOARD] = PollBackoff()
        self.scoreboard_time = self._now()
        if self._lines is not None:
            await self._lines.follow(board.games, leads=self.leads)  # also to be ready to take over
        if not self.leads:
            return
        self._day = self._day or board.date
        self._shown = frozenset(state.game_id for state in board.games)
        self._waiting = 0
        for state in board.games:
            if is_all_star(state.game_id):
                await self._skip(state)
                continue
            if state.game_id in self.games:
                effects = self._step(state.game_id, StateRead(state, busy=state.game_id in self._reads))
            elif len(self.games) >= MAX_WATCHED:
                self._waiting += 1  # the game waits until others are forgotten
                continue
            else:
                known = self._knowledge()
                seen = first_seen(state, known, day=board.date, minutes=self.minutes, to_report=self._report)
                effects = self._keep(seen)
            await self._run(state.game_id, effects)
        crowded = [f"more than {MAX_WATCHED} games; the rest is followed once others are forgotten"]
        faults = frozenset((*map(str, board.faults), *crowded[: self._waiting]))
        await self._tell_new(SCOREBOARD, faults, FaultKind.MALFORMED)

    async def _skip(self, state: GameState) -> None:
        """Report once that an All-Star game is not forecast; its id stays known while the scoreboard shows it."""
        if state.game_id not in self._skipped:
            await self._emit(GameSkipped(state, "an All-Star game, which no model covers"))
        self._skipped = frozenset({state.game_id, *(self._skipped & self._shown)})

    def _forget(self) -> None:
        """Forget games that the scoreboard no longer shows: old ones, and one for each game that waits for a place."""
        busy = {game_id for game_id in self.games if game_id in self._reads or _box_score(game_id) in self._reads}
        kept, room = self._shown | busy, MAX_WATCHED - self._waiting
        for game_id in forgettable(self.games, kept, self._now(), room, keeps_record=self._keeps_record):
            del self.games[game_id]
            for keeper in (self._event_files, self._box_scores, self._lines, self._prices):
                if keeper is not None:
                    keeper.forget(game_id)
            self.game_lines.pop(game_id, None)
            self._priced.discard(game_id)
            self._doubted.discard(game_id)

    async def _check_server(self) -> None:
        try:
            await check_server(self._client)
        except DejavuClientError as error:
            await self._server_failed(error, FaultKind.SERVER)
        else:
            await self._recovered(SERVER, self.server_failure)
            self.server_failure = ""
            self._backoffs[SERVER] = PollBackoff()
            if not self._replays_only:
                await self._read_model()  # before the first forecast is due, there is time to refresh old ratings

    async def _recovered(self, source: str, failure: str) -> None:
        """Report that a source answers, if it failed before."""
        if failure:
            await self._emit(Recovered(source))

    async def _server_failed(self, error: Exception, kind: FaultKind) -> None:
        self.server_failure = str(error)
        self._backoffs[SERVER] = self._backoffs[SERVER].failed()
        await self._emit(Fault(SERVER, str(error), self._backoffs[SERVER].failures, kind=kind))

    async def _server_check_failed(self, error: FeedError) -> None:
        await self._server_failed(error, FaultKind.INTERNAL)

    async def _read_box_score(self, game_id: str) -> None:
        """Read the box score of a game that the scoreboard no longer shows."""
        state = await self._read(self._feed.game, game_id)
        await self._observe(game_id, StateRead(state, busy=game_id in self._reads, in_box_score=True))

    async def _read_plays(self, game_id: str) -> None:
        status = self.games[game_id].state.status
        read = await self._read(self._feed.plays, game_id)
        reads = self.games[game_id].reads
        await self._observe(game_id, PlaysRead(read.plays, status, read.faults))
        if game_id in self.games and self.games[game_id].reads > reads:
            await self._keep_events(game_id, read.events)

    async def _tell_line(
        self, game_id: str, line: GameLine | None, answers: Sequence[Forecast | DejavuClientError]
    ) -> None:
        """Report the line of a game before its first forecast of a minute, or the source used without a line."""
        made = [each for each in answers if isinstance(each, Forecast) and not each.HasField("moment")]
        if self._lines is None or not made:
            return
        told = game_id in self.game_lines
        self.game_lines[game_id] = line
        if not told:
            await self._emit(LineTaken(self.games[game_id].state, line, made[0].HasField("expected_margin")))

    async def _current_prices(self, game_id: str) -> GamePrices | None:
        """Return the current prices of a game; report each problem once until it has passed."""
        if self._prices is None:
            return None
        game = self.games[game_id]
        prices = await self._prices.of(game.state, game.newest_change)
        await self._tell_new(PRICES, self._prices.faults, FaultKind.UNAVAILABLE)
        return prices

    async def _tell_prices(self, game_id: str, sent: SentPrices) -> None:
        """Report the first prices of a game that were recorded, and the first that were refused or implausible."""
        if sent.faults and game_id not in self._doubted:
            self._doubted.add(game_id)
            state = self.games[game_id].state
            fault = f"{state.away} @ {state.home}: {sent.faults[0]}"
            await self._emit(Fault(PRICES, fault, kind=FaultKind.MALFORMED))
        if sent.prices is not None and sent.recorded and game_id not in self._priced:
            self._priced.add(game_id)
            await self._emit(PricesTaken(self.games[game_id].state, sent.prices))

    async def _read_lines(self) -> None:
        if self._lines is not None:
            await self._tell_new(LINES, await self._lines.read(), FaultKind.UNAVAILABLE)

    async def _tell_new(self, source: str, faults: frozenset[str], kind: FaultKind) -> None:
        """Report each fault of a source once until it has passed."""
        for fault in sorted(faults - self._faults.get(source, frozenset())):
            await self._emit(Fault(source, fault, kind=kind))
        self._faults[source] = faults

    async def _keep_events(self, game_id: str, events: Sequence[GameEvent]) -> None:
        """Write the events of a game if they are to be kept; report the first of consecutive failures."""
        if self._event_files is None:
            return
        try:
            await asyncio.to_thread(self._event_files.keep, game_id, events)
        except OSError as error:
            if not self._events_lost:
                reason = f"its events are not kept: {error.strerror or error}"
                await self._emit(Fault(game_id, reason, kind=FaultKind.INTERNAL))
            self._events_lost = True
        else:
            self._events_lost = False

    async def _scoreboard_failed(self, error: FeedError) -> None:
        self.scoreboard_failure = str(error)
        self._backoffs[SCOREBOARD] = self._backoffs[SCOREBOARD].failed()
        await self._emit(feed_fault(SCOREBOARD, error, self._backoffs[SCOREBOARD].failures))

    async def _emit(self, event: Event) -> None:
        if isinstance(event, Fault):  # at level info: users see the event
            log.info("poll.fault", source=event.source, reason=event.reason, failures=event.failures)
        if isinstance(event, Prediction):
            await self._call(self._on_prediction, event)
        await self._call(self._on_event, event)

    async def _call(self, callbacks: Iterable[Callback[EventT]], event: EventT) -> None:
        for callback in callbacks:
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("poll.callback_failed", callback=repr(callback), happened=type(event).__name__)


def _box_score(game_id: str) -> str:
    return f"box score of {game_id}"
