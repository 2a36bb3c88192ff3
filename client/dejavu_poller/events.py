"""Events of a poller: one frozen dataclass per kind of event."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from statistics import fmean

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.record_pb2 import Outcome as RecordedOutcome
from dejavu_client.errors import DejavuClientError
from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed, StaleFeed
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_feed.nba.live_payloads import GameState
from dejavu_poller.inputs import GameLine, GamePrices
from dejavu_poller.leadership import Leadership


@dataclass(frozen=True, slots=True)
class GameChanged:
    """A game was first seen, tipped off, went to overtime, or became final."""

    game: GameState


@dataclass(frozen=True, slots=True)
class Prediction:
    """A horizon of a game was forecast after a minute of play, or revised because a correction changed the pattern.

    Attributes:
        game: state of the game.
        pattern: differentials (home − away, points) used for the forecast, one per minute.
        forecast: the server's forecast.
        latency: seconds from the play that completed the pattern, by the feed's wall clock, to the forecast. None if
            not meaningful: for a revision, a pattern that was complete when the game was first read, or a time in the
            future or of another evening.
        completed: time of the play that completed the pattern; None if `latency` is None.
    """

    game: GameState
    pattern: tuple[int, ...]
    forecast: Forecast
    latency: float | None = None
    completed: datetime | None = None


@dataclass(frozen=True, slots=True)
class MinuteForecast:
    """A forecast and its inputs.

    Attributes:
        pattern: differentials (home − away, points), one per minute.
        forecast: the forecast.
        live: live inputs at the end of the pattern.
    """

    pattern: tuple[int, ...]
    forecast: Forecast
    live: LiveInputs = NO_LIVE_INPUTS

    @property
    def persistence(self) -> int:
        """Persistence forecast: the last differential of the pattern, in points."""
        return self.pattern[-1]


@dataclass(frozen=True, slots=True)
class HorizonResult:
    """A forecast horizon of a game has its outcome.

    Attributes:
        game: state of the game at the horizon.
        horizon: `HALFTIME` or `FINAL`.
        differential: home − away at the horizon, in points.
        forecasts: the newest forecast of each forecast minute, in order of minutes; at least one.
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
        """Number of forecasts whose interval contains the outcome, bounds included."""
        intervals = [(each.forecast.interval_lower, each.forecast.interval_upper) for each in self.forecasts]
        return sum(lower <= self.differential <= upper for lower, upper in intervals)

    @property
    def count(self) -> int:
        """Number of forecasts."""
        return len(self.forecasts)

    @property
    def error(self) -> float:
        """Mean absolute error, in points."""
        return fmean(abs(each.forecast.point_forecast - self.differential) for each in self.forecasts)

    @property
    def persistence_error(self) -> float:
        """Mean absolute error of persistence for the same minutes, in points."""
        return fmean(abs(each.persistence - self.differential) for each in self.forecasts)

    @property
    def brier(self) -> float:
        """Mean Brier score (Brier 1950) of the probabilities that the home team leads; 0 is best, 1 worst.

        For the final, which has no ties, it scores the probability that the home team wins.
        """
        outcome = float(self.differential > 0)
        return fmean((each.forecast.home_lead_probability - outcome) ** 2 for each in self.forecasts)

    @property
    def leader_brier(self) -> float:
        """Brier score of a baseline for the same minutes: the current leader leads for certain, a tie counts as 0.5."""
        outcome = float(self.differential > 0)
        leads = ((each.persistence > 0) + 0.5 * (each.persistence == 0) for each in self.forecasts)
        return fmean((leads_now - outcome) ** 2 for leads_now in leads)


@dataclass(frozen=True, slots=True)
class OutcomeReported:
    """An outcome, or its correction, was reported to the server and is in its track record.

    Attributes:
        game: state of the game at the horizon.
        horizon: `HALFTIME` or `FINAL`.
        differential: home − away at the horizon, in points.
        outcome: outcome as recorded.
        settled: number of forecasts that the outcome settles.
    """

    game: GameState
    horizon: Horizon.ValueType
    differential: int
    outcome: RecordedOutcome
    settled: int = 0


@dataclass(frozen=True, slots=True)
class HorizonClosed:
    """The track record has an outcome already and refuses forecasts of this horizon from earlier minutes than `minute`.

    Attributes:
        game: state of the game.
        horizon: `HALFTIME` or `FINAL`.
        minute: first minute of play, if any, after which the horizon could still be forecast.
    """

    game: GameState
    horizon: Horizon.ValueType
    minute: int


@dataclass(frozen=True, slots=True)
class ForecastMissed:
    """A horizon of a game was not forecast after these minutes, and will not be.

    Attributes:
        game: state of the game.
        horizon: `HALFTIME` or `FINAL`.
        minutes: the missed minutes, ascending; at least one.
        reason: why they were missed.
    """

    game: GameState
    horizon: Horizon.ValueType
    minutes: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class GameSkipped:
    """A game on the scoreboard is not followed.

    Attributes:
        game: the game when it was first seen.
        reason: why.
    """

    game: GameState
    reason: str


@dataclass(frozen=True, slots=True)
class LineTaken:
    """The first forecast of a game was made, and its line does not change any more.

    Attributes:
        game: the game.
        line: its line; None if it has none.
        rated: whether the forecast has an expected margin, which without a line is from the teams' ratings.
    """

    game: GameState
    line: GameLine | None
    rated: bool


@dataclass(frozen=True, slots=True)
class PricesTaken:
    """The first forecast of a game with prices was made; prices of later forecasts are not announced.

    Attributes:
        game: the game.
        prices: its prices.
    """

    game: GameState
    prices: GamePrices


@dataclass(frozen=True, slots=True)
class RatingsOutdated:
    """Team ratings of the server's model are too old to be used in forecasts of today's games.

    Attributes:
        model_version: version of the model.
        reason: the outdated ratings, and the command that helps.
    """

    model_version: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The server's model does not support all configured forecasts. Unsupported ones are not requested.

    Attributes:
        model_version: version of the model.
        reason: description of the unsupported request.
    """

    model_version: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeadershipChanged:
    """This poller became the leader, or another poller leads.

    Attributes:
        status: which poller works.
    """

    status: Leadership


class FaultKind(StrEnum):
    """Kinds of faults."""

    UNAVAILABLE = "unavailable"
    """The feed gave no answer: it refused, timed out or returned a status other than 200."""
    MALFORMED = "malformed"
    """The feed's answer does not have the expected format."""
    STALE = "stale"
    """The feed's answer is out of date, or may be."""
    SERVER = "server"
    """The server did not answer a check of its health, a request for a forecast or a report; it is retried."""
    REFUSED = "refused"
    """The server refused to forecast from this pattern, or to accept this outcome."""
    INTERNAL = "internal"
    """An internal error of the poller."""


def fault_of(source: str, error: FeedError | DejavuClientError, failures: int = 1) -> Fault:
    """Convert an error of the feed or of the server to a fault event."""
    if isinstance(error, DejavuClientError):
        return Fault(source, str(error), failures, kind=FaultKind.SERVER)
    kinds = {
        FeedUnavailable: FaultKind.UNAVAILABLE,
        MalformedFeed: FaultKind.MALFORMED,
        StaleFeed: FaultKind.STALE,
    }
    return Fault(source, str(error), failures, kind=kinds.get(type(error), FaultKind.INTERNAL))


@dataclass(frozen=True, slots=True)
class Fault:
    """A read, forecast or report failed. It is retried unless `reason` says otherwise.

    Attributes:
        source: "scoreboard", "server", "lines", "prices" or a game id.
        reason: description of the fault.
        failures: consecutive failures of this source, including this one.
        kind: kind of fault.
    """

    source: str
    reason: str
    failures: int = 1
    kind: FaultKind = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The scoreboard or the server answers again, after a fault.

    Attributes:
        source: "scoreboard" or "server".
    """

    source: str


Event = (
    GameChanged
    | Prediction
    | HorizonResult
    | OutcomeReported
    | HorizonClosed
    | ForecastMissed
    | GameSkipped
    | LineTaken
    | PricesTaken
    | ModelLimits
    | RatingsOutdated
    | LeadershipChanged
    | Fault
    | Recovered
)
