"""Effects of a transition: what the poller has to do. An event is emitted; a request is answered by an observation."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import Event
from dejavu_client.poller.watched_game import PendingOutcome


@dataclass(frozen=True, slots=True)
class DueForecast:
    """A forecast to request now.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        pattern: pattern of the newest minute: differentials (home − away, points), one per minute.
        completed: time of the play that completed the pattern.
    """

    horizon: Horizon.ValueType
    pattern: tuple[int, ...]
    completed: datetime | None


class Read(enum.Enum):
    """Read the plays or the box score of the game, or what the server's model can forecast."""

    PLAYS = enum.auto()
    BOX_SCORE = enum.auto()
    MODEL = enum.auto()


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Read the forecasts of the game that a model has recorded."""

    model_version: str


@dataclass(frozen=True, slots=True)
class RequestForecasts:
    """Request forecasts, in one call."""

    due: tuple[DueForecast, ...]


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """Report an outcome."""

    outcome: PendingOutcome


Effect = Event | Read | ReadHistory | RequestForecasts | ReportOutcome
