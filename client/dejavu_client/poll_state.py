"""What a poller knows of an evening: the games with their forecasts and outcomes, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.poll_events import Outcome
from dejavu_feed.course import last_change
from dejavu_feed.errors import StaleFeed
from dejavu_feed.live import GameState, GameStatus, Play
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, elapsed_seconds

_POSTPONED = ("PPD", "POSTPONED", "CANCELED", "CANCELLED")
_MOST_TURNS_SKIPPED = 5
_LEEWAY = 60.0
"""Game seconds that a scoreboard may lie behind what was seen before: it lags a little, and clocks are set back."""
_LATEST_BEGIN = timedelta(hours=3)
"""By how much a game may begin late."""
_BELIEVED_AFTER = 300.0
"""Seconds after which a state of the past is taken for a correction; caches forget sooner."""


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
        state: the newest that was seen.
        state_time, plays_time: when that, and the plays, were last read; for plays not read yet, when they could have
            been first. An answer of the past does not count.
        day: the scoreboard's date when the game was first seen.
        shown: whether the last scoreboard shows it.
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
        backoff, box_backoff: how often its plays, and its box score, are read.
        played: game seconds until the last of the plays.
        last_change: when the newest of the plays happened or was edited, by the feed's wall clock.
        behind_since: since when the feed has shown nothing but a state of the past.
    """

    state: GameState
    state_time: datetime
    plays_time: datetime | None = None
    day: str = ""
    shown: bool = True
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
    box_backoff: Backoff = field(default_factory=Backoff)
    played: float = 0.0
    last_change: datetime | None = None
    behind_since: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether the game is: final, or postponed."""
        return self.state.status is GameStatus.FINAL or self.state.text.upper().startswith(_POSTPONED)

    @property
    def half_played(self) -> bool:
        """Whether the scoreboard says that the half is over. Its clock is not asked: it may run ahead of the plays."""
        return self.state.status is GameStatus.FINAL or self.state.period > 2

    @property
    def to_follow(self) -> bool:
        """Whether its plays are of interest: while the half can be forecast, and until its end if it was.

        The end of a half that only the plays tell of may be withdrawn, so they are read on.
        """
        if self.state.status is GameStatus.SCHEDULED or self.read_to_end:
            return False
        return self.forecast is not None or not (self.half_over and self.half_played)

    def to_look_up(self, now: datetime) -> bool:
        """Whether its box score is of interest where the scoreboard does not show it: if it is, or should be, live."""
        if self.over:
            return False
        tip_off = self.state.tip_off
        begun = tip_off is not None and tip_off <= now < tip_off + _LATEST_BEGIN
        return self.state.status is GameStatus.LIVE or begun

    def age(self, now: datetime) -> float | None:
        """Seconds since the feed last told something new of a game under way; None for a game that is not.

        It is the older of its score and its plays. Plays count until the half is over.
        """
        if self.state.status is not GameStatus.LIVE or self.over:
            return None
        times = [self.state_time]
        if self.plays_time is not None and not self.half_over:
            times.append(self.plays_time)
        return max(0.0, (now - min(times)).total_seconds())

    def saw(self, state: GameState, now: datetime) -> bool:
        """Takes over a state that the feed shows, unless it is one of the past; whether it did.

        A cache may serve a scoreboard of some minutes ago. But the NBA also takes back what it showed: a state that
        lies behind the one before is believed if nothing else is shown for `_BELIEVED_AFTER`.
        """
        latest, known = _elapsed(state, 0.0), _elapsed(self.state)
        undone = state.status < self.state.status and latest <= known  # a final that goes on, a tip-off that was none
        if latest >= known - _LEEWAY and not undone:
            self.behind_since = None
        else:
            self.behind_since = self.behind_since or now
            if (now - self.behind_since).total_seconds() < _BELIEVED_AFTER:
                return False
        if latest >= self.played - _LEEWAY:
            self.state_time = now
        self.state = state
        return True

    def read(self, plays: Sequence[Play], now: datetime) -> None:
        """Takes over plays, unless they are those of the past.

        Raises:
            StaleFeed: if they are; nothing is taken over then.
        """
        changed = last_change(plays, now)
        if changed is not None and not self.half_played:
            if self.last_change is not None and changed < self.last_change:
                raise StaleFeed(
                    f"plays until {changed:%H:%M:%S} UTC, and others until {self.last_change:%H:%M:%S} before"
                )
            self.last_change = changed
        self.plays_time = now
        self.played = plays[-1].elapsed if plays else 0.0
        self.trouble = ""
        self.backoff.succeeded()


def _elapsed(state: GameState, clock: float | None = None) -> float:
    """Game seconds that a state shows. A clock that is not told has run down in a final, else `clock`, or not begun."""
    if state.period < 1:
        return 0.0
    length = QUARTER_SECONDS if state.period <= 4 else OVERTIME_SECONDS
    if state.clock is not None:
        left = state.clock
    elif state.status is GameStatus.FINAL:
        left = 0.0
    else:
        left = length if clock is None else clock
    return elapsed_seconds(state.period, min(left, length))


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
