"""What a poller knows of one horizon of a game: which minutes were forecast, which went by, and how it came out.

The newest completed minute counts, of those that are wanted and that the model knows. It is forecast once, and anew
when a correction changes its pattern; the forecast of an older minute stands as it was made. A minute that goes by
without one, because the poller, the feed or the server was away, is told as missed and never made up: that would be a
forecast in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.poller.events import HorizonResult, MinuteForecast
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.nba.live import GameState, GameStatus, Play
from dejavu_feed.nba.progress import earliest_end, final_score, halftime_score, period_is_over
from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, Score

FIRST_MINUTE: Final = 6
"""From when on minutes are forecast unless it is asked otherwise: before, there is little that the score says."""


@dataclass(frozen=True, slots=True)
class HorizonRules:
    """When a horizon can be forecast, and how its end is found.

    Attributes:
        minutes: of play, after which nothing can be forecast any more.
        period: the last one before that.
        score: the score at the horizon, or None while it has not come.
    """

    minutes: int
    period: int
    score: Callable[[Sequence[Play]], Score | None]


HORIZON_RULES: Final[Mapping[Horizon.ValueType, HorizonRules]] = MappingProxyType(
    {
        HALFTIME: HorizonRules(HALFTIME_MINUTES, 2, halftime_score),
        FINAL: HorizonRules(REGULATION_MINUTES, 4, final_score),
    }
)


def forecast_minutes(horizon: Horizon.ValueType, from_minute: int, every: int) -> range:
    """The minutes after which a horizon is to be forecast."""
    return range(from_minute, HORIZON_RULES[horizon].minutes, every)


@dataclass(slots=True)
class HorizonState:
    """The half of a game, or its end.

    Attributes:
        wanted: the minutes after which it is to be forecast.
        made: the newest forecast of each minute.
        newest: that of the newest completed minute that has one; None without any.
        refused: a pattern that the server will not forecast from.
        over: whether nothing can be forecast any more.
        outcome: what it brought, if it was forecast.
        note: what lastingly stands in the way of any forecast.
        passed: the last minute that was forecast, or told as missed.
        told_missed: the minutes that were told as missed.
        closed: the minutes below it can't be forecast any more, whatever the plays say: an outcome is in the record.
    """

    horizon: Horizon.ValueType
    minutes: range
    forecasts: dict[int, MinuteForecast] = field(default_factory=dict)
    newest: MinuteForecast | None = None
    refused: tuple[int, ...] | None = None
    result_known: bool = False
    outcome: HorizonResult | None = None
    note: str = ""
    last_passed: int = 0
    reported_missed: set[int] = field(default_factory=set)
    closed: int = 0

    @property
    def rules(self) -> HorizonRules:
        """When it can be forecast."""
        return HORIZON_RULES[self.horizon]

    @property
    def missed(self) -> int:
        """How many minutes were told as missed, and have no forecast.

        One may have got it later: the half only seemed to be over, or a slip in a clock had put the game ahead.
        """
        return len(self.reported_missed - self.forecasts.keys())

    def minute(self, completed: int, able: range) -> int | None:
        """The newest minute that it is to be forecast from; None before the first.

        Args:
            completed: how many minutes of play are complete.
            able: the minutes that the server's model knows.
        """
        until = self.minutes[: max(0, completed - self.minutes.start) // self.minutes.step + 1]
        return next((minute for minute in reversed(until) if minute <= completed and minute in able), None)

    def due(self, pattern: tuple[int, ...]) -> bool:
        """Whether to have the pattern of its newest minute forecast."""
        minute = len(pattern)
        if minute < self.closed:
            return False
        if self.newest is not None and 0 < len(self.newest.pattern) - minute <= self.minutes.step:
            # The play that completed the later minute was taken back. That minute is soon complete again, and revised
            # if it was wrong; until then it stands, so that the forecast recorded last is that of the latest minute.
            return False
        made = self.forecasts.get(minute)
        if made is not None and made.pattern == pattern:
            self.newest = made  # a slip in a clock had completed a much later minute, which counts no more
            return False
        return pattern != self.refused

    def accept(self, pattern: tuple[int, ...], forecast: Forecast) -> None:
        """Notes a forecast."""
        self.newest = self.forecasts[len(pattern)] = MinuteForecast(pattern, forecast)
        self.last_passed = max(self.last_passed, len(pattern))
        self.note = ""

    def restore(self, stored: Mapping[int, MinuteForecast], minute: int | None) -> None:
        """Takes over what was forecast before this poller began.

        Args:
            stored: by the minute.
            minute: the newest minute that is to be forecast: its own comes with the next answer. None: there is none.
        """
        for each in sorted(stored):
            if each in self.minutes and each != minute and each not in self.forecasts:
                self.forecasts[each] = stored[each]
                later = minute is None or each > minute  # the plays at hand are old then, or some were taken back
                if later and (self.newest is None or each > len(self.newest.pattern)):
                    self.newest = stored[each]

    def mark_missed(self, until: int, able: range | None) -> tuple[int, ...]:
        """Notes that minutes have gone by; which of them were to be forecast and were not, each told once.

        Args:
            until: the first minute that has not.
            able: the minutes that the server's model knows; None if that is not known.
        """
        gone = [minute for minute in self.minutes if self.last_passed < minute < until and minute not in self.forecasts]
        self.last_passed = max(self.last_passed, until - 1)
        missed = tuple(minute for minute in gone if able is None or minute in able)
        self.reported_missed.update(missed)
        return missed

    def report_closed(self, state: GameState) -> bool:
        """Whether a game's state says that it is over. Its clock is not asked: it may run ahead of the plays."""
        return state.status is GameStatus.FINAL or state.period > self.rules.period

    def played_out(self, plays: Sequence[Play]) -> bool:
        """Whether the plays say that it is over."""
        return period_is_over(plays, self.rules.period)

    def late(self, plays: Sequence[Play], now: datetime) -> float:
        """Seconds for which, by this machine's clock, it may already be over; 0 if it can't be."""
        earliest = earliest_end(plays, now, self.rules.minutes)
        return 0.0 if earliest is None else max(0.0, (now - earliest).total_seconds())


def at_horizon(state: GameState, horizon: Horizon.ValueType, score: Score, plays: Sequence[Play]) -> GameState:
    """A game as it stood at a horizon, as the plays have it: what the scoreboard showed last is older, or newer."""
    final = horizon == FINAL
    return replace(
        state,
        period=max(play.period for play in plays) if final else HORIZON_RULES[horizon].period,
        clock=0.0,
        home_score=score.home,
        away_score=score.away,
        text="Final" if final else "Half",
    )
