"""State of one horizon of a game: forecast minutes, missed minutes and outcome.

The newest completed minute that is configured and supported by the model is forecast once, and again if a correction
changes its pattern, its total points or its last score. Forecasts of older minutes stay as they are, except those
whose home and away teams turn out to be exchanged: they are made again, for viewers. A minute that passes without a
forecast, because the poller, the feed or the server was unavailable, is reported as missed and never forecast later:
that would be a forecast in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play, earliest_end, final_score, halftime_score
from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, Score
from dejavu_poller.events import HorizonResult, MinuteForecast

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
