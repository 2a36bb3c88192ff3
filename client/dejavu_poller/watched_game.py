"""State of a watched game as immutable data: feed, horizons, pending outcomes; its changes; the summary of all games.

The newest completed minute that is configured and supported by the model is forecast once, and again if a correction
changes its pattern, its total points or its last score. Forecasts of older minutes stay as they are, except those
whose home and away teams turn out to be exchanged: they are made again, for viewers. A minute that passes without a
forecast, because the poller, the feed or the server was unavailable, is reported as missed and never forecast later:
that would be a forecast in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from statistics import fmean
from types import MappingProxyType
from typing import Any, Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import PASSING, InternalError, UnauthenticatedError
from dejavu_client.requests import FEED_HORIZONS, FINAL, HALFTIME
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs, Possession
from dejavu_feed.moment import Moment
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play, earliest_end, final_score, halftime_score
from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, Score
from dejavu_poller.events import Event, Fault, FaultKind, HorizonResult, MinuteForecast

FIRST_MINUTE: Final = 1
"""Default first minute to forecast."""


@dataclass(frozen=True, slots=True)
class HorizonRules:
    """The minutes at which a horizon can be forecast, and the detection of its end.

    Attributes:
        minutes: minutes of play until the horizon; it can't be forecast any more after them.
        period: last period before the horizon.
        score_at_end: returns the score at the horizon from the plays, or None before the horizon.
    """

    minutes: int
    period: int
    score_at_end: Callable[[Sequence[Play]], Score | None]


HORIZON_RULES: Final[Mapping[Horizon.ValueType, HorizonRules]] = MappingProxyType(
    {
        HALFTIME: HorizonRules(HALFTIME_MINUTES, 2, halftime_score),
        FINAL: HorizonRules(REGULATION_MINUTES, 4, final_score),
    }
)


def overtimes_by(period: int) -> int:
    """Return the number of overtimes that have begun in a period."""
    return max(0, period - HORIZON_RULES[FINAL].period)


def scores_at_end(plays: Sequence[Play], periods: int) -> dict[Horizon.ValueType, Score]:
    """Return the score at each horizon that is over, according to plays that show this many periods as over."""
    over = {horizon: rules.score_at_end(plays) for horizon, rules in HORIZON_RULES.items() if periods >= rules.period}
    return {horizon: score for horizon, score in over.items() if score is not None}


def forecast_minutes(horizon: Horizon.ValueType, from_minute: int, every: int) -> range:
    """Return the minutes after which to forecast a horizon."""
    return range(from_minute, HORIZON_RULES[horizon].minutes, every)


@dataclass(frozen=True, slots=True)
class HorizonState:
    """State of one horizon of a game, as immutable data.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        minutes: the minutes after which to forecast it.
        forecasts: the newest forecast of each minute.
        newest: forecast of the newest completed minute that has one; None if there is none.
        refused: a pattern that the server refused to forecast from.
        result_known: whether the horizon is over, so that it can't be forecast any more.
        outcome: comparison with the outcome, if the horizon was forecast.
        note: permanent obstacle to forecasts; "" if there is none.
        last_passed: the last minute that was forecast or reported as missed.
        reported_missed: the minutes reported as missed.
        closed: minutes below it can't be forecast any more: the track record has an outcome.
    """

    horizon: Horizon.ValueType
    minutes: range
    forecasts: Mapping[int, MinuteForecast] = field(default_factory=dict)
    newest: MinuteForecast | None = None
    refused: tuple[int, ...] | None = None
    result_known: bool = False
    outcome: HorizonResult | None = None
    note: str = ""
    last_passed: int = 0
    reported_missed: frozenset[int] = frozenset()
    closed: int = 0

    @property
    def rules(self) -> HorizonRules:
        """The rules of this horizon."""
        return HORIZON_RULES[self.horizon]

    @property
    def missed(self) -> int:
        """Number of minutes reported as missed that have no forecast.

        A minute reported as missed may still be forecast later, if the feed showed the half as over too early, or a
        clock error had put the game ahead.
        """
        return len(self.reported_missed - self.forecasts.keys())

    def minute(self, completed: int, supported: range) -> int | None:
        """Return the newest minute to forecast from; None before the first.

        Args:
            completed: number of completed minutes of play.
            supported: the minutes that the server's model supports.
        """
        until = self.minutes[: max(0, completed - self.minutes.start) // self.minutes.step + 1]
        return next((minute for minute in reversed(until) if minute <= completed and minute in supported), None)

    def reached(self, pattern: tuple[int, ...], live: LiveInputs) -> tuple[HorizonState, bool]:
        """Process the pattern of the newest minute, and the live inputs at its end.

        Returns:
            The next state, and whether to request a forecast from them.
        """
        minute = len(pattern)
        if minute < self.closed:
            return self, False
        if self.newest is not None and 0 < len(self.newest.pattern) - minute <= self.minutes.step:
            # The play that completed the later minute was withdrawn. The later minute will soon be complete again, and
            # its forecast revised if it was wrong. Keep that forecast until then, so that the last recorded forecast is
            # that of the latest minute.
            return self, False
        stored = self.forecasts.get(minute)
        if stored is not None and (stored.pattern, stored.live) == (pattern, live):
            # A clock error may have completed a much later minute, whose forecast no longer counts as the newest.
            return (self if stored is self.newest else replace(self, newest=stored)), False
        return self, pattern != self.refused

    def forecast_of_sides(self, home: str, away: str) -> list[int]:
        """Return the minutes, ascending, whose forecasts have these home and away teams."""
        teams = home, away
        made = self.forecasts.items()
        return sorted(minute for minute, each in made if (each.forecast.home_team, each.forecast.away_team) == teams)

    def without(self, minute: int) -> HorizonState:
        """Return the state without the forecast of a minute."""
        return replace(self, forecasts={each: made for each, made in self.forecasts.items() if each != minute})

    def accept(self, pattern: tuple[int, ...], forecast: Forecast, live: LiveInputs = NO_LIVE_INPUTS) -> HorizonState:
        """Return the state with one more forecast, which is the newest."""
        made = MinuteForecast(pattern, forecast, live)
        return replace(
            self,
            newest=made,
            forecasts={**self.forecasts, len(pattern): made},
            last_passed=max(self.last_passed, len(pattern)),
            note="",
        )

    def restore(self, recorded: Mapping[int, MinuteForecast], minute: int | None) -> HorizonState:
        """Return the state with the forecasts made before this poller started.

        Args:
            recorded: the recorded forecasts by minute.
            minute: the newest minute to forecast, whose forecast the next request returns; None if there is none.
        """
        forecasts, newest = dict(self.forecasts), self.newest
        for each in sorted(recorded):
            if each in self.minutes and each != minute and each not in forecasts:
                forecasts[each] = recorded[each]
                later = minute is None or each > minute  # if later, the plays are stale, or some were withdrawn
                if later and (newest is None or each > len(newest.pattern)):
                    newest = recorded[each]
        return replace(self, forecasts=forecasts, newest=newest)

    def passed(self, until: int, supported: range | None) -> tuple[HorizonState, tuple[int, ...]]:
        """Mark minutes as passed. Each minute counts as missed at most once.

        Args:
            until: the first minute that has not passed.
            supported: the minutes that the server's model supports; None if unknown.

        Returns:
            The next state, and the minutes missed: due, but without a forecast.
        """
        if until - 1 <= self.last_passed:
            return self, ()
        missed = tuple(
            minute
            for minute in self.minutes
            if self.last_passed < minute < until
            and minute not in self.forecasts
            and (supported is None or minute in supported)
        )
        return replace(self, last_passed=until - 1, reported_missed=self.reported_missed.union(missed)), missed

    def is_over_by_state(self, state: GameState) -> bool:
        """Return whether a game's state shows the horizon as over. Ignores the clock: it may lead the plays."""
        return state.status is GameStatus.FINAL or state.period > self.rules.period

    def late(self, plays: Sequence[Play], now: datetime) -> float:
        """Return the seconds since the horizon's earliest possible end, by this machine's clock; 0 before it."""
        earliest = earliest_end(plays, now, self.rules.minutes)
        return 0.0 if earliest is None else max(0.0, (now - earliest).total_seconds())


def at_horizon(state: GameState, horizon: Horizon.ValueType, score: Score, plays: Sequence[Play]) -> GameState:
    """Return a game's state at a horizon according to its plays: the scoreboard's state may be older or newer."""
    final = horizon == FINAL
    last = max(play.period for play in plays) if final else HORIZON_RULES[horizon].period
    return replace(
        state,
        period=last,
        clock=0.0,
        home_score=score.home,
        away_score=score.away,
        text=("Final/OT" if overtimes_by(last) else "Final") if final else "Half",
    )


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


@dataclass(frozen=True, slots=True)
class HorizonSummary:
    """Statistics of one horizon. Only the newest forecast of each minute counts.

    Errors and scores are computed per game and then averaged over the settled games, as in the track record; None
    without any. Forecasts of one game succeed or fail together, so the number of games determines how reliable the
    means are.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        games: number of games with a forecast.
        forecasts: number of forecasts.
        missed: number of minutes that passed without a forecast.
        settled_games: number of these games whose outcome is known.
        settled: number of forecasts of the settled games.
        covered: number of settled forecasts whose interval contains the outcome.
        nominal: nominal coverage of their intervals.
        error, persistence_error: mean absolute error in points, of the forecasts and of persistence.
        brier, leader_brier: mean Brier score of the probability that the home team leads (at the final: wins), of the
            forecasts and of assuming that the current leader stays ahead for certain.
    """

    horizon: Horizon.ValueType
    games: int
    forecasts: int
    missed: int
    settled_games: int
    settled: int
    covered: int
    nominal: float | None
    error: float | None
    persistence_error: float | None
    brier: float | None
    leader_brier: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of an evening.

    Attributes:
        games: number of games.
        horizons: statistics of each forecast horizon.
        latencies: seconds from the feed to the forecast, ascending.
    """

    games: int
    horizons: tuple[HorizonSummary, ...]
    latencies: tuple[float, ...]

    @property
    def forecasts(self) -> int:
        """Number of forecasts of all horizons."""
        return sum(horizon.forecasts for horizon in self.horizons)

    @property
    def missed(self) -> int:
        """Number of missed forecasts of all horizons."""
        return sum(horizon.missed for horizon in self.horizons)


def summarize(games: Iterable[WatchedGame], horizons: Iterable[Horizon.ValueType]) -> Summary:
    """Compute the statistics of an evening so far."""
    watched = list(games)
    return Summary(
        games=len(watched),
        horizons=tuple(_summarize(watched, horizon) for horizon in horizons),
        latencies=tuple(sorted(chain.from_iterable(game.latencies for game in watched))),
    )


def _summarize(games: Sequence[WatchedGame], horizon: Horizon.ValueType) -> HorizonSummary:
    watched = [game.horizons[horizon] for game in games if horizon in game.horizons]
    outcomes = [each.outcome for each in watched if each.outcome is not None]
    settled = list(chain.from_iterable(outcome.forecasts for outcome in outcomes))
    return HorizonSummary(
        horizon=horizon,
        games=sum(bool(each.forecasts) for each in watched),
        forecasts=sum(len(each.forecasts) for each in watched),
        missed=sum(each.missed for each in watched),
        settled_games=len(outcomes),
        settled=len(settled),
        covered=sum(outcome.covered for outcome in outcomes),
        nominal=_mean([each.forecast.coverage_probability for each in settled]),
        error=_mean([outcome.error for outcome in outcomes]),
        persistence_error=_mean([outcome.persistence_error for outcome in outcomes]),
        brier=_mean([outcome.brier for outcome in outcomes]),
        leader_brier=_mean([outcome.leader_brier for outcome in outcomes]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
