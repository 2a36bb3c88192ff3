"""What a poller knows of an evening: the games with their forecasts and outcomes, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.poll_events import Outcome
from dejavu_feed.live import GameState, GameStatus

_POSTPONED = ("PPD", "POSTPONED", "CANCELED", "CANCELLED")
_MOST_TURNS_SKIPPED = 5


@dataclass(slots=True)
class Backoff:
    """How often a source is read: after each further failure in a row, more turns are left out (0, 1, 3, 5, 5, …)."""

    failures: int = 0
    skip: int = 0

    def due(self) -> bool:
        """Whether to read in this turn; call it once a turn."""
        if self.skip:
            self.skip -= 1
            return False
        return True

    def failed(self) -> int:
        """Notes a failure; how many in a row that makes."""
        self.failures += 1
        self.skip = min(2 ** min(self.failures - 1, 8) - 1, _MOST_TURNS_SKIPPED)
        return self.failures

    def succeeded(self, *, rest: int = 0) -> None:
        """Notes a success; the next `rest` turns are left out."""
        self.failures = 0
        self.skip = rest


@dataclass(slots=True)
class WatchedGame:
    """A game of the evening.

    Attributes:
        state: as last seen.
        state_time, plays_time: when that, and the plays, were last read.
        pattern, forecast: the newest forecast and what it rests on.
        refused: a pattern that the server will not forecast.
        outcome: what the half brought, if it was forecast.
        note: what lastingly stands in the way of a forecast.
        trouble: what went wrong last, until it goes right again.
        reads: how often its plays were read or could not be.
        unanswered: how many times in a row the server gave no forecast.
        seen_incomplete: whether the plays were read before the pattern was complete.
        half_over: whether the half is known to be played.
        read_to_end: whether the plays were read after the game had become final.
    """

    state: GameState
    state_time: datetime
    plays_time: datetime | None = None
    pattern: tuple[int, ...] | None = None
    forecast: Forecast | None = None
    refused: tuple[int, ...] | None = None
    outcome: Outcome | None = None
    note: str = ""
    trouble: str = ""
    reads: int = 0
    unanswered: int = 0
    seen_incomplete: bool = False
    half_over: bool = False
    read_to_end: bool = False
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def over(self) -> bool:
        """Whether the game is: final, or postponed."""
        return self.state.status is GameStatus.FINAL or self.state.text.upper().startswith(_POSTPONED)

    @property
    def to_follow(self) -> bool:
        """Whether its plays are of interest: while the half can be forecast, and until its end if it was."""
        if self.state.status is GameStatus.SCHEDULED or self.read_to_end:
            return False
        return self.forecast is not None or not self.half_over

    def age(self, now: datetime) -> float | None:
        """Seconds since the feed last answered about a live game: the older of its score and its plays; else None."""
        if self.state.status is not GameStatus.LIVE:
            return None
        times = [self.state_time]
        if self.plays_time is not None and not self.half_over:
            times.append(self.plays_time)
        return max(0.0, (now - min(times)).total_seconds())


@dataclass(frozen=True, slots=True)
class Summary:
    """An evening in figures. Errors are mean absolute ones in points, on the same games; None without any.

    Attributes:
        forecasts: how many games were forecast.
        settled: how many of them have reached the half.
        held: for how many of these the interval held.
        nominal: the mean of the rates that those intervals promise.
        latencies: seconds from the feed to the forecast, ascending.
    """

    games: int
    forecasts: int
    settled: int
    held: int
    nominal: float | None
    error: float | None
    persistence_error: float | None
    latencies: tuple[float, ...]


def summarize(games: Iterable[WatchedGame], latencies: Iterable[float]) -> Summary:
    """The figures of an evening so far."""
    watched = list(games)
    outcomes = [game.outcome for game in watched if game.outcome is not None]
    return Summary(
        games=len(watched),
        forecasts=sum(game.forecast is not None for game in watched),
        settled=len(outcomes),
        held=sum(outcome.held for outcome in outcomes),
        nominal=_mean([outcome.forecast.coverage_probability for outcome in outcomes]),
        error=_mean([outcome.error for outcome in outcomes]),
        persistence_error=_mean([outcome.persistence_error for outcome in outcomes]),
        latencies=tuple(sorted(latencies)),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
