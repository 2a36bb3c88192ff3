"""Transitions of a watched game: observations, effects for the poller, and both while they are computed.

An *observation* is an answer of the feed or the server, or the beginning of a turn. An *effect* is an event to emit, or
a request, which an observation answers.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import PASSING, DejavuClientError, InternalError, UnauthenticatedError
from dejavu_feed.errors import FeedError
from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play
from dejavu_poller.capabilities import ModelCapabilities
from dejavu_poller.events import Event, Fault, FaultKind, MinuteForecast
from dejavu_poller.horizons import HorizonState
from dejavu_poller.moments import DEFAULT_PACE
from dejavu_poller.watched_game import DueMoment, PendingOutcome, WatchedGame

MAY_PASS: Final = (*PASSING, InternalError, UnauthenticatedError)
"""Errors after which a poller asks again. An expired token is replaced in its file while the poller runs."""


_EVENING: Final = timedelta(days=2)
"""Maximum plausible age of an event of a game, by the feed's wall clock."""


@dataclass(frozen=True, slots=True)
class DueForecast:
    """A forecast to request now.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        pattern: pattern of the newest minute: differentials (home − away, points), one per minute.
        completed: time of the play that completed the pattern.
        live: live inputs at the end of the pattern.
        again: whether it corrects the sides of an earlier minute. It is too late to count, but viewers see it.
    """

    horizon: Horizon.ValueType
    pattern: tuple[int, ...]
    completed: datetime | None
    live: LiveInputs
    again: bool = False


class Read(enum.Enum):
    """Read the plays or the box score of the game, or the capabilities of the server's model."""

    PLAYS = enum.auto()
    BOX_SCORE = enum.auto()
    MODEL = enum.auto()


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Read the forecasts of the game that a model has recorded."""

    model_version: str


@dataclass(frozen=True, slots=True)
class RequestForecasts:
    """Request forecasts, of minutes or at moments, in one call."""

    due: tuple[DueForecast, ...] | tuple[DueMoment, ...]


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """Report an outcome."""

    outcome: PendingOutcome


Effect = Event | Read | ReadHistory | RequestForecasts | ReportOutcome


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Facts known at the time of an observation.

    Attributes:
        now: time by the wall clock, timezone-aware.
        model: capabilities of the server's model as last fetched; None before the first fetch.
        keeps_record: whether the server keeps a track record, as far as is known.
        pace: seconds of play between two forecasts within a minute; 0: there are none.
    """

    now: datetime
    model: ModelCapabilities | None = None
    keeps_record: bool = True
    pace: float = DEFAULT_PACE

    def is_recent(self, time: datetime) -> bool:
        """Return whether a time in the feed is plausible for a play of this evening; other times are errors."""
        return self.now - _EVENING <= time <= self.now


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn of the poller began.

    Attributes:
        busy: whether a read of the plays or a report is in progress.
        hidden: whether the scoreboard does not show the game, or has failed for several turns.
        looking_up: whether a read of the box score is in progress.
    """

    busy: bool
    hidden: bool = False
    looking_up: bool = False


@dataclass(frozen=True, slots=True)
class StateRead:
    """The scoreboard or the box score shows the game.

    Attributes:
        state: the state shown.
        busy: whether a read of the plays or a report is in progress.
        in_box_score: whether the box score shows it.
    """

    state: GameState
    busy: bool
    in_box_score: bool = False


@dataclass(frozen=True, slots=True)
class PlaysRead:
    """The plays were read.

    Attributes:
        plays: the plays that could be read.
        status: the game's status when the read began.
        faults: errors of the plays that could not be read.
    """

    plays: Sequence[Play]
    status: GameStatus
    faults: Sequence[FeedError] = ()


@dataclass(frozen=True, slots=True)
class ModelRead:
    """The capabilities of the server's model were read into `Knowledge.model`, or could not be read; see `error`."""

    error: DejavuClientError | None = None


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """The forecasts recorded before this poller started, by horizon and minute; None if the server did not answer."""

    recorded: Mapping[Horizon.ValueType, Mapping[int, MinuteForecast]] | None


@dataclass(frozen=True, slots=True)
class ForecastsAnswered:
    """The answer to each due forecast, in order: the forecast, or the error in its place."""

    due: Sequence[DueForecast] | Sequence[DueMoment]
    answers: Sequence[Forecast | DejavuClientError]


@dataclass(frozen=True, slots=True)
class OutcomeAnswered:
    """The answer to a reported outcome, or the error in its place."""

    outcome: PendingOutcome
    answer: ReportOutcomeResponse | DejavuClientError


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """A read of the feed, or the work that follows from it, failed; or a report failed by an error of the poller."""

    effect: Effect
    error: FeedError


Observation = (
    TurnStarted | StateRead | PlaysRead | ModelRead | HistoryRead | ForecastsAnswered | OutcomeAnswered | EffectFailed
)


@dataclass(slots=True)
class Transition:
    """Collects the changes of a game and the effects that follow from one observation.

    Attributes:
        game: the game so far.
        known: facts known at the time of the observation.
        effects: the effects so far, in order.
    """

    game: WatchedGame
    known: Knowledge
    effects: list[Effect] = field(default_factory=list)

    def add(self, effect: Effect) -> None:
        """Add an effect: an event to emit, or a request."""
        self.effects.append(effect)

    def fault(self, reason: str, failures: int = 1, *, kind: FaultKind) -> None:
        """Add a fault of this game to emit."""
        self.add(Fault(self.game.state.game_id, reason, failures, kind=kind))

    def set_horizon(self, watched: HorizonState) -> None:
        """Replace the state of a horizon."""
        if watched is not self.game.horizons[watched.horizon]:
            self.game = replace(self.game, horizons={**self.game.horizons, watched.horizon: watched})
