"""What a poller tells: one frozen record for each thing that happens in an evening."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.record_pb2 import Outcome as RecordedOutcome
from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed, StaleFeed
from dejavu_feed.nba.live import GameState


@dataclass(frozen=True, slots=True)
class GameChanged:
    """A game was first seen, tipped off, or became final."""

    game: GameState


@dataclass(frozen=True, slots=True)
class Prediction:
    """The half of a game, or its end, was forecast after a minute of play; anew if a correction changed its pattern.

    Attributes:
        pattern: the differentials (home − away, points) that it rests on, one for each minute.
        latency: seconds from the play that completed the pattern, by the feed's wall clock, until the forecast came.
            None where that says nothing: for a revision, or a pattern that was complete when the game was first read.
        completed: the moment of that play; None where `latency` is.
    """

    game: GameState
    pattern: tuple[int, ...]
    forecast: Forecast
    latency: float | None = None
    completed: datetime | None = None


@dataclass(frozen=True, slots=True)
class MinuteForecast:
    """A forecast and the pattern that it rests on."""

    pattern: tuple[int, ...]
    forecast: Forecast

    @property
    def persistence(self) -> int:
        """The last differential of its pattern, in points: what repeating the lead would have said."""
        return self.pattern[-1]


@dataclass(frozen=True, slots=True)
class HorizonResult:
    """The half of a game that was forecast, or its end, has come.

    Attributes:
        game: as it stood then.
        horizon: `HALFTIME` or `FINAL`.
        differential: home − away then, in points.
        forecasts: the newest forecast of each minute that has one, by the minute; at least one.
    """

    game: GameState
    horizon: Horizon.ValueType
    differential: int
    forecasts: tuple[MinuteForecast, ...]

    @property
    def newest(self) -> MinuteForecast:
        """The forecast of the last minute."""
        return self.forecasts[-1]

    @property
    def covered(self) -> int:
        """For how many of the forecasts the outcome lies in the interval, ends included."""
        intervals = [(made.forecast.interval_lower, made.forecast.interval_upper) for made in self.forecasts]
        return sum(lower <= self.differential <= upper for lower, upper in intervals)

    @property
    def errors(self) -> tuple[float, ...]:
        """Absolute error of each forecast, in points."""
        return tuple(abs(made.forecast.point_forecast - self.differential) for made in self.forecasts)

    @property
    def persistence_errors(self) -> tuple[int, ...]:
        """Absolute error of persistence after the same minutes, in points."""
        return tuple(abs(made.persistence - self.differential) for made in self.forecasts)

    @property
    def brier(self) -> tuple[float, ...]:
        """Brier score (Brier 1950) of each forecast's probability that the home team leads then: 0 is best, 1 worst.

        At the end, where nobody is level, that of the probability that it wins.
        """
        came = float(self.differential > 0)
        return tuple((made.forecast.home_lead_probability - came) ** 2 for made in self.forecasts)

    @property
    def leader_brier(self) -> tuple[float, ...]:
        """The same for whoever takes the leader of the moment to lead then for certain, a level game for a toss-up."""
        came = float(self.differential > 0)
        return tuple(((_sign(made.persistence) + 1) / 2 - came) ** 2 for made in self.forecasts)


def _sign(points: int) -> int:
    return (points > 0) - (points < 0)


@dataclass(frozen=True, slots=True)
class OutcomeReported:
    """How a horizon of a game came out was reported to the server, and is in its record; anew where it was corrected.

    Attributes:
        game: as it stood then.
        horizon: `HALFTIME` or `FINAL`.
        differential: home − away then, in points.
        outcome: as the record has it.
        settled: how many forecasts it settles.
    """

    game: GameState
    horizon: Horizon.ValueType
    differential: int
    outcome: RecordedOutcome
    settled: int = 0


@dataclass(frozen=True, slots=True)
class HorizonClosed:
    """The record takes no forecast of a horizon of a game that lies before a minute: it has an outcome already.

    Attributes:
        minute: the first minute of play, if any, after which it could still be forecast.
    """

    game: GameState
    horizon: Horizon.ValueType
    minute: int


@dataclass(frozen=True, slots=True)
class ForecastMissed:
    """The half of a game, or its end, was not forecast after these minutes, and will not be any more.

    Attributes:
        minutes: ascending; at least one.
    """

    game: GameState
    horizon: Horizon.ValueType
    minutes: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The server's model can't do all that is wanted; what it can't is not asked for.

    Attributes:
        model_version: which model.
        reason: what it can't do.
    """

    model_version: str
    reason: str


class FaultKind(StrEnum):
    """Sorts of faults."""

    UNAVAILABLE = "unavailable"
    """The feed gave no answer: refused, timed out, a status other than 200."""
    MALFORMED = "malformed"
    """The feed's answer is not what it promises."""
    STALE = "stale"
    """The feed's answer was right some minutes ago, or may have been."""
    SERVER = "server"
    """The server gave no forecast this time, or did not take an outcome."""
    REFUSED = "refused"
    """The server will not forecast from this pattern, or not take this outcome."""
    INTERNAL = "internal"
    """A fault of the poller's own."""


def feed_fault(source: str, error: FeedError, failures: int = 1) -> Fault:
    """What an error of the feed is told as."""
    kinds = {
        FeedUnavailable: FaultKind.UNAVAILABLE,
        MalformedFeed: FaultKind.MALFORMED,
        StaleFeed: FaultKind.STALE,
    }
    return Fault(source, str(error), failures, kind=kinds.get(type(error), FaultKind.INTERNAL))


@dataclass(frozen=True, slots=True)
class Fault:
    """Something could not be read or forecast; it is tried again unless `reason` says otherwise.

    Attributes:
        source: "scoreboard" or a game's id.
        failures: how many times in a row this source has failed now.
        kind: what sort of fault it is.
    """

    source: str
    reason: str
    failures: int = 1
    kind: FaultKind = field(kw_only=True)


Event = (
    GameChanged | Prediction | HorizonResult | OutcomeReported | HorizonClosed | ForecastMissed | ModelLimits | Fault
)
