"""What a poller knows of a game: as the feed shows it, how well it can be read, and what was forecast of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.horizons import HorizonState
from dejavu_client.requests import FINAL
from dejavu_feed.errors import StaleFeed
from dejavu_feed.nba.live import GameState, GameStatus, Play
from dejavu_feed.nba.progress import completed_minutes, final_score, last_change
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
class PollBackoff:
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
class PendingOutcome:
    """How a horizon of a game came out, to be told to the server.

    Attributes:
        game: as it stood then, by its plays.
        differential: home − away then, in points.
        observed: when it came, by the feed's wall clock; None if that does not tell.
        done: whether the server has it, or will never take it.
    """

    game: GameState
    differential: int
    observed: datetime | None
    done: bool = False


@dataclass(slots=True)
class WatchedGame:
    """A game of the evening.

    Attributes:
        state: the newest that was seen.
        state_time, plays_time: when that, and the plays, were last read; for plays not read yet, when they could have
            been first. An answer of the past does not count.
        day: the scoreboard's date when the game was first seen.
        shown: whether the last scoreboard shows it.
        horizons: what is forecast of it.
        trouble: what went wrong last, until it goes right again.
        unanswered: how many times in a row the server gave no forecast.
        first_minute: how many minutes were complete when its plays were first read; None before.
        read_to_end: whether the plays were read after the game had become final.
        backoff, box_backoff: how often its plays, and its box score, are read.
        played: game seconds until the last of the plays.
        last_change: when the newest of the plays happened or was edited, by the feed's wall clock.
        behind_since: since when the feed has shown nothing but a state of the past.
        to_report: whether its outcomes are to be reported, so that its plays are of interest to the end in any case.
        reports: how its half, and the game, came out, to be reported or reported already.
        report_backoff: how often that is tried.
        owed: minutes of which a forecast was asked for at the last read, and not answered.
        recall: how many times more the record may be asked for what was forecast before this poller began.
    """

    state: GameState
    state_time: datetime
    plays_time: datetime | None = None
    day: str = ""
    shown: bool = True
    horizons: dict[Horizon.ValueType, HorizonState] = field(default_factory=dict)
    failure: str = ""
    unanswered: int = 0
    first_minute: int | None = None
    read_to_end: bool = False
    backoff: PollBackoff = field(default_factory=PollBackoff)
    box_backoff: PollBackoff = field(default_factory=PollBackoff)
    played: float = 0.0
    last_change: datetime | None = None
    behind_since: datetime | None = None
    to_report: bool = False
    reports: dict[Horizon.ValueType, PendingOutcome] = field(default_factory=dict)
    report_backoff: PollBackoff = field(default_factory=PollBackoff)
    unanswered_minutes: tuple[int, ...] = ()
    history_attempts: int = 0

    @property
    def over(self) -> bool:
        """Whether the game is: final, or postponed."""
        return self.state.status is GameStatus.FINAL or self.postponed

    @property
    def postponed(self) -> bool:
        """Whether the feed says that it is, or that it was cancelled."""
        return self.state.text.upper().startswith(_POSTPONED)

    @property
    def played_out(self) -> bool:
        """Whether nothing of it can be forecast any more."""
        return all(watched.result_known for watched in self.horizons.values())

    @property
    def to_follow(self) -> bool:
        """Whether its plays are of interest: while something can be forecast, and until its end if something was.

        Until its end in any case if its outcomes are to be reported, or if something may have been forecast before this
        poller began. The end of a half that only the plays tell of may be withdrawn, so they are read on.
        """
        if self.state.status is GameStatus.SCHEDULED or self.read_to_end:
            return False
        if not self.postponed and (self.to_report or self.history_attempts):
            return True
        return any(
            watched.forecasts or not (watched.result_known and watched.report_closed(self.state))
            for watched in self.horizons.values()
        )

    def unsettled(self, plays: Sequence[Play]) -> str:
        """Why the outcome of a final game that was forecast, or is to be reported, is not settled yet; "" if it is.

        Plays are corrected after the last buzzer, too; the scoreboard knows the score by then.
        """
        final = self.horizons.get(FINAL)
        if not self.to_report and (final is None or not final.forecasts):
            return ""
        told, shown = final_score(plays), self.state
        if told is None:
            return "the game is final, and its plays do not tell of its end"
        if (told.home, told.away) == (shown.home_score, shown.away_score):
            return ""
        by_plays = f"{told.away}–{told.home}"
        return f"the game is final at {shown.away_score}–{shown.home_score}, and at {by_plays} by its plays"

    def to_look_up(self, now: datetime) -> bool:
        """Whether its box score is of interest where the scoreboard does not show it: if it is, or should be, live."""
        if self.over:
            return False
        tip_off = self.state.tip_off
        begun = tip_off is not None and tip_off <= now < tip_off + _LATEST_BEGIN
        return self.state.status is GameStatus.LIVE or begun

    def age(self, now: datetime) -> float | None:
        """Seconds since the feed last told something new of a game under way; None for a game that is not.

        It is the older of its score and its plays. Plays count while something can be forecast from them.
        """
        if self.state.status is not GameStatus.LIVE or self.over:
            return None
        times = [self.state_time]
        if self.plays_time is not None and not self.played_out:
            times.append(self.plays_time)
        return max(0.0, (now - min(times)).total_seconds())

    def reopen(self, now: datetime) -> None:
        """Notes that it is under way, whatever was thought before."""
        self.read_to_end = False
        self.backoff.succeeded()
        for watched in self.horizons.values():
            watched.result_known = False
        self.plays_time = self.plays_time or now

    def update_state(self, state: GameState, now: datetime) -> bool:
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

    def update_plays(self, plays: Sequence[Play], now: datetime) -> None:
        """Takes over plays, unless they are those of the past.

        Raises:
            StaleFeed: if they are; nothing is taken over then.
        """
        changed = last_change(plays, now)
        regulation = self.state.status is not GameStatus.FINAL and self.state.period <= 4
        if changed is not None and regulation:
            if self.last_change is not None and changed < self.last_change:
                raise StaleFeed(
                    f"plays until {changed:%H:%M:%S} UTC, and others until {self.last_change:%H:%M:%S} before"
                )
            self.last_change = changed
        self.plays_time = now
        self.played = plays[-1].elapsed if plays else 0.0
        if self.first_minute is None:
            self.first_minute = completed_minutes(plays)
        self.failure = ""
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


def watched_horizons(wanted: Mapping[Horizon.ValueType, range]) -> dict[Horizon.ValueType, HorizonState]:
    """What is to be forecast of a game, before anything was.

    Args:
        wanted: for each horizon, the minutes after which it is to be forecast.
    """
    return {horizon: HorizonState(horizon, minutes) for horizon, minutes in wanted.items()}
