"""What a poller tells: one frozen record for each thing that happens in an evening."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed, StaleFeed
from dejavu_feed.live import GameState


@dataclass(frozen=True, slots=True)
class GameChanged:
    """A game was first seen, tipped off, or became final."""

    game: GameState


@dataclass(frozen=True, slots=True)
class Prediction:
    """A game's half was forecast, or forecast anew because a play before 6:00 of the second quarter was corrected.

    Attributes:
        pattern: the differentials (home − away, points) that it rests on.
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
class Outcome:
    """The half of a game that was forecast is over.

    Attributes:
        differential: home − away at the half, in points.
        forecast: the newest one made before the half.
        persistence: the last differential of its pattern: what repeating the lead would have said.
    """

    game: GameState
    differential: int
    forecast: Forecast
    persistence: int

    @property
    def held(self) -> bool:
        """Whether the outcome lies in the forecast's interval, ends included."""
        return self.forecast.interval_lower <= self.differential <= self.forecast.interval_upper

    @property
    def error(self) -> float:
        """Absolute error of the forecast, in points."""
        return abs(self.forecast.point_forecast - self.differential)

    @property
    def persistence_error(self) -> int:
        """Absolute error of persistence, in points."""
        return abs(self.persistence - self.differential)


@dataclass(frozen=True, slots=True)
class Missed:
    """A game's half will not be forecast any more."""

    game: GameState
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
    """The server gave no forecast this time."""
    REFUSED = "refused"
    """The server will not forecast from this pattern."""
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


Event = GameChanged | Prediction | Outcome | Missed | Fault
