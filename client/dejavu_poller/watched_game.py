"""A watched game as immutable data: what the feed shows of it, its horizons and pending outcomes; and its changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import PASSING, InternalError, UnauthenticatedError
from dejavu_client.requests import FEED_HORIZONS, FINAL
from dejavu_feed.live_inputs import LiveInputs, Possession
from dejavu_feed.moment import Moment
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play, final_score
from dejavu_poller.events import Event, Fault, FaultKind
from dejavu_poller.horizons import HorizonState

MAY_PASS: Final = (*PASSING, InternalError, UnauthenticatedError)
"""Errors after which a poller asks again. An expired token is replaced in its file while the poller runs."""


_EVENING: Final = timedelta(days=2)
"""Maximum plausible age of an event of a game, by the feed's wall clock."""

_POSTPONED = ("PPD", "POSTPONED", "CANCELED", "CANCELLED")
_MAX_SKIP = 5
_MAX_TIP_OFF_DELAY = timedelta(hours=3)
_ENDING = 45 * 60.0
"""Game seconds from which a game is shown as ending."""


@dataclass(frozen=True, slots=True)
class PollBackoff:
    """Backoff of a source: each consecutive failure skips more turns (0, 1, 3, 5, 5, …).

    Attributes:
        failures: consecutive failures.
        skip: turns left to skip.
    """

    failures: int = 0
    skip: int = 0

    def waited(self) -> PollBackoff:
        """Return the backoff after a skipped turn."""
        return PollBackoff(self.failures, self.skip - 1)

    def failed(self) -> PollBackoff:
        """Return the backoff after one more failure."""
        return PollBackoff(self.failures + 1, min(2 ** min(self.failures, 8) - 1, _MAX_SKIP))


@dataclass(frozen=True, slots=True)
class PendingOutcome:
    """Outcome of a game at a horizon, to be reported to the server.

    Attributes:
        game: state of the game at the horizon, by its plays.
        horizon: `HALFTIME` or `FINAL`.
        differential: home − away at the horizon, in points.
        observed: time of the horizon, by the feed's wall clock; None if unknown.
        done: whether the server has accepted it or will never accept it.
    """

    game: GameState
    horizon: Horizon.ValueType
    differential: int
    observed: datetime | None
    done: bool = False


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


@dataclass(frozen=True, slots=True)
class DueMoment:
    """A forecast at a moment to request now.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        pattern: differentials of the complete minutes (home − away, points).
        moment: the state after the newest play.
        possession: who has the ball then; None if not known.
    """

    horizon: Horizon.ValueType
    pattern: tuple[int, ...]
    moment: Moment
    possession: Possession | None

    @property
    def is_last(self) -> bool:
        """Whether no minute can be forecast any more."""
        return len(self.pattern) == FEED_HORIZONS[self.horizon].last_slot


@dataclass(frozen=True, slots=True)
class WatchedGame:
    """A game of the evening.

    Attributes:
        state: the newest state seen.
        state_time, plays_time: when the state and the plays were last read. Stale reads do not count. For plays not
            read yet, the time when they could first have been read.
        day: the scoreboard's date when the game was first seen.
        horizons: state of each forecast horizon.
        failure: the last failure; "" after the next success.
        unanswered: consecutive requests for forecasts without an answer from the server.
        first_minute: number of completed minutes when the plays were first read; None before.
        read_to_end: whether the plays were read after the game became final.
        backoff, box_backoff: backoff of reads of the plays and of the box score.
        last_play: the last play; None if there is none, or none was read.
        ahead: game seconds of the latest play in each of the last reads that were too far ahead of the scoreboard, with
            the time of the read, ascending; empty if the last read was not.
        reads: number of reads of the plays that were not stale.
        refused_plays: number of plays of the last read that could not be used.
        last_change: when the newest play happened or was edited, by the feed's wall clock; not in overtimes.
        newest_change: the same in the last read, in overtimes too.
        behind_since: time since which the feed has shown only older states; None if it shows the newest one.
        to_report: whether to report the game's outcomes; if so, its plays are read to the end in any case.
        reports: outcomes of the half and the game, pending or reported.
        report_backoff: backoff of the reports.
        unanswered_minutes: minutes whose forecast was requested at the last read but not answered.
        history_attempts: attempts left to load forecasts recorded before this poller started.
        emitted: sequence and time of every forecast that was emitted.
        moments: the last moment that was forecast, by horizon.
        at_moment: forecast at the newest play where none of a minute can follow; None if there is none.
        latencies: seconds from the feed to the forecast, in order of the forecasts.
    """

    state: GameState
    state_time: datetime
    plays_time: datetime | None = None
    day: str = ""
    horizons: Mapping[Horizon.ValueType, HorizonState] = field(default_factory=dict)
    failure: str = ""
    unanswered: int = 0
    first_minute: int | None = None
    read_to_end: bool = False
    backoff: PollBackoff = PollBackoff()
    box_backoff: PollBackoff = PollBackoff()
    last_play: Play | None = None
    ahead: tuple[tuple[float, datetime], ...] = ()
    reads: int = 0
    refused_plays: int = 0
    last_change: datetime | None = None
    newest_change: datetime | None = None
    behind_since: datetime | None = None
    to_report: bool = False
    reports: Mapping[Horizon.ValueType, PendingOutcome] = field(default_factory=dict)
    report_backoff: PollBackoff = PollBackoff()
    unanswered_minutes: tuple[int, ...] = ()
    history_attempts: int = 0
    emitted: frozenset[tuple[int, int]] = frozenset()
    latencies: tuple[float, ...] = ()
    moments: Mapping[Horizon.ValueType, DueMoment] = field(default_factory=dict)
    at_moment: Forecast | None = None

    @property
    def played(self) -> float:
        """Game seconds until the last play."""
        return 0.0 if self.last_play is None else self.last_play.elapsed

    @property
    def over(self) -> bool:
        """Whether the game is final or postponed."""
        return self.state.status is GameStatus.FINAL or self.postponed

    @property
    def postponed(self) -> bool:
        """Whether the feed shows the game as postponed or canceled."""
        return self.state.text.upper().startswith(_POSTPONED)

    @property
    def played_out(self) -> bool:
        """Whether no horizon can be forecast any more."""
        return all(watched.result_known for watched in self.horizons.values())

    @property
    def is_ending(self) -> bool:
        """Whether it is in the last three minutes of regulation, or in overtime."""
        return self.state.status is GameStatus.LIVE and self.played >= _ENDING

    @property
    def needs_plays(self) -> bool:
        """Whether to read the plays: while a horizon can be forecast, and to the end of the game if one was forecast.

        They are also read to the end if outcomes are to be reported, or if forecasts may have been recorded before this
        poller started. If only the plays show the end of a half, the end may still be withdrawn, so reading continues.
        """
        if self.state.status is GameStatus.SCHEDULED or self.read_to_end:
            return False
        if not self.postponed and (self.to_report or self.history_attempts):
            return True
        return any(
            watched.forecasts or not (watched.result_known and watched.is_over_by_state(self.state))
            for watched in self.horizons.values()
        )

    def unsettled(self, plays: Sequence[Play]) -> str:
        """Return why a final game that was forecast, or is to be reported, is not settled yet; "" otherwise.

        Plays may be corrected after the final buzzer, when the scoreboard already has the final score.
        """
        final = self.horizons.get(FINAL)
        if not self.to_report and (final is None or not final.forecasts):
            return ""
        score, shown = final_score(plays), self.state
        if score is None:
            return "the game is final, but its plays do not show the end"
        if (score.home, score.away) == shown.score:
            return ""
        by_plays = f"{score.away}–{score.home}"
        return (
            f"the final score is {shown.away_score}–{shown.home_score} on the scoreboard, but {by_plays} in the plays"
        )

    def needs_box_score(self, now: datetime) -> bool:
        """Return whether to read the box score if the scoreboard does not show the game: it is, or should be, live."""
        if self.over:
            return False
        tip_off = self.state.tip_off
        begun = tip_off is not None and tip_off <= now < tip_off + _MAX_TIP_OFF_DELAY
        return self.state.status is GameStatus.LIVE or begun

    def age(self, now: datetime) -> float | None:
        """Return the seconds since the feed last updated a live game; None if the game is not live.

        Uses the older of the score and the plays. Plays count while a horizon can be forecast from them.
        """
        if self.state.status is not GameStatus.LIVE or self.over:
            return None
        times = [self.state_time]
        if self.plays_time is not None and not self.played_out:
            times.append(self.plays_time)
        return max(0.0, (now - min(times)).total_seconds())


def watched_horizons(minutes: Mapping[Horizon.ValueType, range]) -> dict[Horizon.ValueType, HorizonState]:
    """Create the initial states of the horizons to forecast.

    Args:
        minutes: for each horizon, the minutes after which to forecast it.
    """
    return {horizon: HorizonState(horizon, each) for horizon, each in minutes.items()}


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Facts known at the time of an observation.

    Attributes:
        now: time by the wall clock, timezone-aware.
        model: the server's model as last fetched; None before the first fetch.
        keeps_record: whether the server keeps a track record, as far as is known.
        pace: seconds of play between two forecasts within a minute; 0: there are none.
    """

    now: datetime
    model: Model | None
    keeps_record: bool
    pace: float

    def is_recent(self, time: datetime) -> bool:
        """Return whether a time in the feed is plausible for a play of this evening; other times are errors."""
        return self.now - _EVENING <= time <= self.now


@dataclass(slots=True)
class Transition:
    """Changes a game, and collects the events that follow.

    Attributes:
        games: the games by id.
        game_id: id of the game.
        knowledge: returns the facts known now.
        events: the events so far, in order.
    """

    games: dict[str, WatchedGame]
    game_id: str
    knowledge: Callable[[], Knowledge]
    events: list[Event] = field(default_factory=list)

    @property
    def game(self) -> WatchedGame:
        """The game as it is now."""
        return self.games[self.game_id]

    @property
    def known(self) -> Knowledge:
        """The facts known now."""
        return self.knowledge()

    def set(self, **changes: Any) -> WatchedGame:
        """Change attributes of the game, and return it."""
        game = self.games[self.game_id] = replace(self.game, **changes)
        return game

    def add(self, event: Event) -> None:
        """Add an event to emit."""
        self.events.append(event)

    def fault(self, reason: str, failures: int = 1, *, kind: FaultKind) -> None:
        """Add a fault of this game to emit."""
        self.add(Fault(self.game_id, reason, failures, kind=kind))

    def set_horizon(self, watched: HorizonState) -> None:
        """Replace the state of a horizon."""
        if watched is not self.game.horizons[watched.horizon]:
            self.set(horizons={**self.game.horizons, watched.horizon: watched})
