"""An evening for tests of pollers, a replay on a stepped clock with faults and corrections; and a poller on it."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.clock import SteppedClock

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_RATINGS, Forecast, Horizon
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.market_pb2 import MARKET_RECORDING_RECORDED, MarketAnswer
from dejavu.v1.model_service_pb2 import HorizonSupport, Model
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictError, PredictRequest
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu.v1.record_service_pb2 import PlayerLine, ReportOutcomeResponse
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_client.transport.servers import HealthStatus
from dejavu_common.clock import utc_now
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import (
    GameState,
    PlayByPlay,
    Scoreboard,
    read_game_state,
    read_plays,
    read_scoreboard,
)
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import HALFTIME_MINUTES, QUARTER_SECONDS, REGULATION_MINUTES, Score, elapsed_seconds
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.timeline import Timeline
from dejavu_poller import Poller
from dejavu_poller.events import Event, Prediction
from dejavu_poller.poller import Callback
from dejavu_poller.watched_game import WatchedGame

FakeOfClient: Final[Any] = object
"""For type checkers, its subclasses are of every type, such as `AsyncDejavuClient`."""


def close_game(game_id: str, **fields: Any) -> Game:
    """Return the state of a close game in the fourth quarter, read now, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "home_team": "BOS",
        "away_team": "NYK",
        "status": GameStatus.GAME_STATUS_LIVE,
        "home_score": 101,
        "away_score": 99,
        "period": 4,
        "seconds_left": 252.0,
        "observed_time": utc_now(),
    }
    return Game(game_id=game_id, **(values | fields))


CLOSES = {HALFTIME: HALFTIME_MINUTES, FINAL: REGULATION_MINUTES}
"""Minutes below which a game is no longer forecast once the outcome of the horizon is known."""

OVERTIME = ((1, 2, 0), (2, 2, 2), (3, 4, 2), (4, 6, 2))
"""Minutes of an overtime, and points that both teams have then made in it."""

Edit = Callable[[tuple[Play, ...]], tuple[Play, ...]]


def game(home: str = "BOS", away: str = "LAL", *, lead: int = 3, run: int = 0) -> ReplayGame:
    """Return a game with a basket one second into each minute, away and home in turn.

    At 6:00 of the second quarter the home team leads by `lead`; at the half, and at the end, by `lead` + `run`.
    """
    scores = [Score(0.0, 0, 0), Score(1.0, lead + 2, 0)]
    for minute in range(1, 48):
        home_points = lead + 2 + 2 * (minute // 2) + (run if minute >= 20 else 0)
        scores.append(Score(60.0 * minute + 1, home_points, 2 * ((minute + 1) // 2)))
    return ReplayGame("test", home, away, tuple(scores))


def extend_to_overtime(game: ReplayGame) -> ReplayGame:
    """Extend a game that the home team led: the away team ties it with threes at the buzzer, and loses by four."""
    *_, last = game.scores
    behind = last.home - last.away
    threes = math.ceil(behind / 3)
    caught_up = [
        Score(4 * QUARTER_SECONDS - threes - 1 + number, last.home, last.away + min(behind, 3 * number))
        for number in range(1, threes + 1)
    ]
    begin = 4 * QUARTER_SECONDS
    overtime = [Score(begin + 60.0 * n, last.home + h, last.home + a) for n, h, a in OVERTIME]
    return replace(game, scores=(*game.scores, *caught_up, *overtime))


class Evening:
    """Games on a clock at real-time speed, and a `Feed` of them with optional faults and edits.

    Attributes:
        fault: errors that reads of a source ("scoreboard" or a game's id) raise, until they are removed.
        stalled: sources whose reads wait until `release` is set.
        edit: corrections of a game's plays.
        hidden: ids of games that the scoreboard does not show.
        shown: change of the scoreboard, which a feed has that is late, ahead or wrong.
        reads: how often each source was read.
    """

    def __init__(self, games: Sequence[ReplayGame], *, stagger: float = 0.0) -> None:
        # Programs that read the feed use the machine's clock. The feed has tip-offs in whole seconds.
        self.clock = SteppedClock(utc_now().replace(microsecond=0))
        self.replay = Replay(games, stagger=stagger, now=self.clock)
        self.start = self.clock.now
        self.fault: dict[str, Exception] = {}
        self.stalled = set[str]()
        self.release = threading.Event()
        self.edit: dict[str, Edit] = {}
        self.hidden = set[str]()
        self.shown: Callable[[Scoreboard], Scoreboard] = lambda board: board
        self.reads = Counter[str]()

    @property
    def ids(self) -> list[str]:
        return list(self.replay.games)

    def go_to(self, elapsed: float, index: int = 0) -> None:
        """Set the clock to half a second after `elapsed` game seconds of a game."""
        plays = Timeline(self.replay.games[self.ids[index]]).plays
        at = next(play.at for play in plays if elapsed_seconds(play.period, play.clock) >= elapsed)
        tip_off = read_scoreboard(self.payload("scoreboard/todaysScoreboard_00.json")).games[index].tip_off
        assert tip_off is not None
        self.clock.now = tip_off
        self.clock.step(at + 0.5)

    def scoreboard(self) -> Scoreboard:
        self.arrive("scoreboard")
        board = read_scoreboard(self.payload("scoreboard/todaysScoreboard_00.json"))
        return self.shown(replace(board, games=tuple(each for each in board.games if each.game_id not in self.hidden)))

    def show(self, change: Callable[[GameState], GameState]) -> None:
        """Change what the scoreboard shows of each game."""
        self.shown = lambda board: replace(board, games=tuple(map(change, board.games)))

    def game(self, game_id: str) -> GameState:
        self.arrive(f"box score of {game_id}")
        return read_game_state(self.payload(f"boxscore/boxscore_{game_id}.json"), game_id)

    def plays(self, game_id: str) -> PlayByPlay:
        self.arrive(game_id)
        read = read_plays(self.payload(f"playbyplay/playbyplay_{game_id}.json"), game_id)
        edit = self.edit.get(game_id)
        return read if edit is None else replace(read, plays=edit(read.plays))

    def arrive(self, source: str) -> None:
        """Count a read of a source; wait or raise if that is wanted."""
        self.reads[source] += 1
        if source in self.stalled:
            assert self.release.wait(20)
        if source in self.fault:
            raise self.fault[source]

    def payload(self, path: str) -> object:
        """Return the JSON of a file of the feed."""
        response = self.replay.respond(LIVE_PATH + path)
        assert response.status == 200, path
        return json.loads(response.body)


@dataclass(frozen=True)
class Asked:
    """A request to a predictor; it has its fields."""

    request: PredictRequest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)

    @property
    def pattern(self) -> tuple[float, ...]:
        return tuple(self.request.pattern)

    @property
    def margin(self) -> tuple[float | None, int]:
        """Line of the request, and its source."""
        request = self.request
        return (request.pregame_margin if request.HasField("pregame_margin") else None, request.margin_source)

    @property
    def minute(self) -> int:
        return len(self.request.pattern)


@dataclass(frozen=True)
class Report:
    """An outcome that was reported to a predictor."""

    game_id: str
    differential: int
    _: KW_ONLY
    horizon: Horizon.ValueType
    home_team: str = ""
    away_team: str = ""
    observed_time: datetime | None = None
    total_points: int | None = None
    overtimes: int | None = None
    players: Sequence[PlayerLine] = ()


class StoringPredictor(FakeOfClient):  # type: ignore[misc]
    """Predictor that forecasts the current lead, and stores forecasts and outcomes like a server's ledger.

    Attributes:
        asked: every request so far, without those of moments.
        moments: every request of a moment so far.
        calls: number of calls of `predict_batch`.
        failures: errors for the next calls of `predict_batch`, in order.
        unreachable: errors for the next calls of `health`, in order.
        unlisted: errors for the next calls of `list_models`, in order.
        refusals: errors for the next requests, each of which fails alone.
        models: the models that it lists.
        listed: number of calls of `list_models`.
        reports: every outcome reported so far, accepted or not.
        untaken: errors for the next reports.
        unrecalled: errors for the next calls of `list_predictions`.
        recalled: number of calls of `list_predictions`.
        rated: expected margin from the teams' ratings; None: ratings are not used.
        market: answer to every market.
        published: states of games that were published, by id.
        unpublished: errors for the next calls of `list_games`.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self.asked: list[Asked] = []
        self.moments: list[PredictRequest] = []
        self.calls = 0
        self.failures: list[Exception] = []
        self.unreachable: list[Exception] = []
        self.unlisted: list[Exception] = []
        self.refusals: list[PredictError] = []
        self.models = [able_model()]
        self.listed = 0
        self.sequence = 0
        self.reports: list[Report] = []
        self.untaken: list[Exception] = []
        self.unrecalled: list[Exception] = []
        self.recalled = 0
        self.rated: float | None = None
        self.market = MarketAnswer(recording=MARKET_RECORDING_RECORDED)
        self.published: dict[str, Game] = {}
        self.unpublished: list[Exception] = []
        self._newest: dict[tuple[str, Horizon.ValueType, int], tuple[Asked, Forecast]] = {}
        self._outcomes: dict[tuple[str, Horizon.ValueType], Outcome] = {}

    def forget(self) -> None:
        """Continue like a server with another or a restored ledger: clear all entries and restart sequences."""
        self.sequence = 0
        self._newest.clear()
        self._outcomes.clear()

    def minutes(self, horizon: Horizon.ValueType) -> list[int]:
        """Return the minutes of all requests for a horizon, in order."""
        return [asked.minute for asked in self.asked if asked.horizon == horizon]

    async def health(self, service: str = "") -> HealthStatus:
        if self.unreachable:
            raise self.unreachable.pop(0)
        return HealthStatus.SERVING

    async def list_models(self) -> list[Model]:
        self.listed += 1
        if self.unlisted:
            raise self.unlisted.pop(0)
        return self.models

    async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        if all(request.HasField("moment") for request in requests):
            self.moments += requests
            return [
                PredictBatchResult(
                    forecast=Forecast(
                        horizon=request.horizon,
                        elapsed_minutes=len(request.pattern),
                        point_forecast=request.moment.differential,
                        home_lead_probability=0.6,
                        moment=request.moment,
                    )
                )
                for request in requests
            ]
        self.calls += 1
        asked = [Asked(request) for request in requests]
        self.asked += asked
        if self.failures:
            raise self.failures.pop(0)
        return [
            PredictBatchResult(forecast=answer, markets=[self.market] * len(each.request.markets))
            if isinstance(answer := self._answer(each), Forecast)
            else PredictBatchResult(error=answer)
            for each in asked
        ]

    async def publish_games(self, games: Iterable[Game]) -> None:
        self.published |= {game.game_id: game for game in games}

    async def list_games(self) -> list[Game]:
        if self.unpublished:
            raise self.unpublished.pop(0)
        return list(self.published.values())

    async def report_outcome(self, game_id: str, differential: int, **given: Any) -> ReportOutcomeResponse:
        report = Report(game_id, differential, **given)
        self.reports.append(report)
        if self.untaken:
            raise self.untaken.pop(0)
        horizon = report.horizon
        known = self._outcomes.get((game_id, horizon))
        if known is None or known.differential != differential:
            self.sequence += 1
            known = Outcome(
                game_id=game_id,
                horizon=horizon,
                differential=differential,
                sequence=self.sequence,
                revision=0 if known is None else known.revision + 1,
            )
            known.recorded_time.FromDatetime(self._now())
            self._outcomes[game_id, horizon] = known
        settled = sum(key[:2] == (game_id, horizon) for key in self._newest)
        return ReportOutcomeResponse(outcome=known, settled_forecasts=settled)

    async def list_predictions(
        self, *, page_size: int = 0, game_id: str, model_version: str, owners_only: bool
    ) -> AsyncIterator[RecordedPrediction]:
        assert owners_only, "what others record of a game would stand for the poller's own forecasts"
        self.recalled += 1
        if self.unrecalled:
            raise self.unrecalled.pop(0)
        for asked, forecast in reversed(list(self._newest.values())):
            if asked.game_id == game_id and forecast.model_version == model_version:
                yield RecordedPrediction(forecast=forecast, pattern=asked.pattern)

    def _answer(self, asked: Asked) -> Forecast | PredictError:
        if self.refusals:
            return self.refusals.pop(0)
        key = (asked.game_id, asked.horizon, asked.minute)
        stored = self._newest.get(key)
        if stored is not None and stored[0].pattern == asked.pattern:
            return stored[1]
        if any(asked.game_id == of and asked.minute < CLOSES[horizon] for of, horizon in self._outcomes):
            return PredictError(code=9, reason="OUTCOME_KNOWN", message="it came")
        self.sequence += 1
        lead = float(asked.pattern[-1])
        forecast = Forecast(
            game_id=asked.game_id,
            horizon=asked.horizon,
            elapsed_minutes=asked.minute,
            alpha=0.05,
            model_version=next(model.version for model in self.models if model.active),
            point_forecast=lead + 0.5,
            interval_lower=lead - 3,
            interval_upper=lead + 3,
            coverage_probability=0.95,
            home_lead_probability=0.75,
            sequence=self.sequence,
            generated_time=Timestamp(seconds=self.calls),
            revision=0 if stored is None else stored[1].revision + 1,
        )
        if self.rated is not None:
            forecast.expected_margin, forecast.margin_source = self.rated, MARGIN_SOURCE_RATINGS
        if asked.margin[0] is not None:
            forecast.expected_margin = asked.request.pregame_margin
            forecast.margin_source = asked.request.margin_source
            forecast.margin_time.CopyFrom(asked.request.margin_time)
        self._newest[key] = (asked, forecast)
        return forecast


def able_model(
    half: tuple[int, int] | None = (1, 23),
    final: tuple[int, int] | None = (1, 47),
    *,
    version: str = "stored",
    active: bool = True,
) -> Model:
    """Return a model that supports this range of slots per horizon; None: it does not support the horizon."""
    known = [(HALFTIME, half), (FINAL, final)]
    horizons = [
        HorizonSupport(horizon=horizon, min_slots=slots[0], max_slots=slots[1]) for horizon, slots in known if slots
    ]
    return Model(version=version, active=active, horizons=horizons)


EventT = TypeVar("EventT")
SIX_MINUTES: Final = 1080.0
"""6:00 of the second quarter, in game seconds; the next basket is a second later."""
HALF: Final = 1440.0
END: Final = 2880.0
ONCE: Final[dict[str, Any]] = {"horizons": (HALFTIME,), "from_minute": 18, "every": 6}
"""Options of a poller that forecasts each half once, at 6:00 of the second quarter."""


class Watch:
    """A poller on an evening, and its events.

    Attributes:
        evening, predictor: what the poller reads, and its server.
        poller: the poller.
        events: its events so far.
    """

    def __init__(self, evening: Evening, predictor: StoringPredictor, poller: Poller, events: list[Event]) -> None:
        self.evening = evening
        self.predictor = predictor
        self.poller = poller
        self.events = events

    @property
    def id(self) -> str:
        """Id of the first game."""
        return self.evening.ids[0]

    @property
    def seen(self) -> WatchedGame:
        """The first game as the poller sees it."""
        return self.poller.games[self.id]

    async def at(self, *elapsed: float, index: int = 0) -> None:
        """Run one turn at each of these game seconds of a game."""
        for each in elapsed:
            self.evening.go_to(each, index)
            await self.turn()

    async def minutes(self, *minutes: int) -> None:
        """Run one turn a second after the end of each of these minutes."""
        await self.at(*(60.0 * minute + 1 for minute in minutes))

    async def over(self, turns: int = 1) -> None:
        """Run some turns at the end of the evening."""
        self.evening.clock.now = self.evening.replay.end
        await self.turn(turns)

    async def turn(self, turns: int = 1, *, after: float = 0.0) -> None:
        """Run some turns, each some seconds after the one before."""
        for _ in range(turns):
            self.evening.clock.step(after)
            self.poller.turn()
            await self.poller.idle()

    def edit(self, edit: Edit | None) -> None:
        """Correct the plays of the first game; None: no more."""
        self.evening.edit.pop(self.id, None)
        if edit is not None:
            self.evening.edit[self.id] = edit

    def told(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def watching(
    evening: Evening | None = None,
    predictor: StoringPredictor | None = None,
    on_prediction: Sequence[Callback[Prediction]] = (),
    client: AsyncDejavuClient | None = None,
    **options: Any,
) -> AsyncIterator[Watch]:
    """Yield a poller of an evening, by default one of one game, with further options; it forecasts from minute 6 on.

    It uses `client`, or else `predictor`.
    """
    events: list[Event] = []
    evening, predictor = evening or Evening([game()]), predictor or StoringPredictor()
    async with Poller(
        evening,
        client or predictor,
        on_prediction=on_prediction,
        on_event=[events.append],
        now=evening.clock,
        **{"from_minute": 6, **options},
    ) as poller:
        yield Watch(evening, predictor, poller, events)
    evening.release.set()


def moved(by: int, first: float = 1, until: float = END) -> Edit:
    """Return a change of the home score of all plays between two game seconds, as when a three becomes a two."""
    return lambda plays: tuple(
        replace(play, home=play.home + by) if first <= play.elapsed <= until else play for play in plays
    )


def cut_at(elapsed: float) -> Edit:
    """Return an edit that leaves out the plays after a game second, as of a feed that lags behind."""
    return lambda plays: tuple(play for play in plays if play.elapsed <= elapsed)


def newest(**changes: Any) -> Edit:
    """Return a change of the newest play."""
    return lambda plays: (*plays[:-1], replace(plays[-1], **changes))
