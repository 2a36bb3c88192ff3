"""Observations of a game: what the feed and the server say, as `transition.step` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import DejavuClientError
from dejavu_client.poller.capabilities import ModelCapabilities
from dejavu_client.poller.effects import DueForecast, Effect
from dejavu_client.poller.events import MinuteForecast
from dejavu_client.poller.watched_game import PendingOutcome
from dejavu_feed.errors import FeedError
from dejavu_feed.nba.live_payloads import GameState, GameStatus, Play


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known when something is observed.

    Attributes:
        now: time by the wall clock, timezone-aware.
        model: capabilities of the server's model as last fetched; None before the first fetch.
        keeps_record: whether the server keeps a track record, as far as is known.
    """

    now: datetime
    model: ModelCapabilities | None = None
    keeps_record: bool = True


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
    """The plays were read; `status` is the game's status when the read began."""

    plays: Sequence[Play]
    status: GameStatus


@dataclass(frozen=True, slots=True)
class ModelRead:
    """The capabilities of the server's model are known, see `Knowledge.model`; or why the server did not say them."""

    error: DejavuClientError | None = None


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """The forecasts recorded before this poller started, by horizon and minute; None if the server did not answer."""

    recorded: Mapping[Horizon.ValueType, Mapping[int, MinuteForecast]] | None


@dataclass(frozen=True, slots=True)
class ForecastsAnswered:
    """The answer to each due forecast, in order: the forecast, or the error in its place."""

    due: Sequence[DueForecast]
    answers: Sequence[Forecast | DejavuClientError]


@dataclass(frozen=True, slots=True)
class OutcomeAnswered:
    """The answer to a reported outcome, or the error in its place."""

    outcome: PendingOutcome
    answer: ReportOutcomeResponse | DejavuClientError


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """A read of the feed failed, or what follows from it; or a report, by an error of the poller itself."""

    effect: Effect
    error: FeedError


Observation = (
    TurnStarted | StateRead | PlaysRead | ModelRead | HistoryRead | ForecastsAnswered | OutcomeAnswered | EffectFailed
)
