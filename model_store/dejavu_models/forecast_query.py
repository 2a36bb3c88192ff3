"""Request for one forecast, and its validation: score pattern, horizon, interval, teams.

Forecasts of many games as columns, to score whole seasons: options are given once, without objects per game.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import numpy as np

from dejavu_common.frozen import fast_frozen
from dejavu_feed.box_score import Lineups, lineup_faults
from dejavu_feed.game_ids import FIRST_DAY, LAST_DAY
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs, faults_of, total_points_fault
from dejavu_feed.moment import Moment, moment_fault
from dejavu_feed.teams import TEAMS
from dejavu_models.arrays import Floats, Integers
from dejavu_models.betting import Market, MarketKind
from dejavu_models.errors import (
    FieldErrors,
    InvalidAlpha,
    InvalidGameDate,
    InvalidLiveInput,
    InvalidMargin,
    InvalidMarket,
    InvalidPattern,
    InvalidQuantile,
    InvalidTeam,
    quoted,
)
from dejavu_models.types import MAX_DIFFERENTIAL, MAX_SLOTS, ExpectedMarginTerms, Horizon

DEFAULT_ALPHA = 0.05
"""Miscoverage rate of the interval if a query gives none."""

MAX_QUANTILES = 99
"""Maximum number of quantiles per query."""


def are_differentials(values: Sequence[float]) -> bool:
    """Return whether all values, at least one, are finite differentials within ±200, in points."""
    # The sum is NaN if any value is; min() and max() would reveal a NaN only by chance.
    return not math.isnan(sum(values)) and min(values) >= -MAX_DIFFERENTIAL and max(values) <= MAX_DIFFERENTIAL


@fast_frozen
class ScorePattern:
    """Score differentials at the end of each minute of play, starting with the first.

    Raises:
        InvalidPattern: if it is empty, longer than 47 slots, or a value is not finite or outside ±200.
    """

    differentials: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.differentials) <= MAX_SLOTS:
            why = "; the last minute and overtime need a moment" if self.differentials else ""
            raise InvalidPattern(f"{len(self.differentials)} slots", f"1 to {MAX_SLOTS}{why}")
        if are_differentials(self.differentials):
            return
        for index, value in enumerate(self.differentials):
            if not are_differentials((value,)):
                raise InvalidPattern(
                    f"{value}", f"a finite number within ±{MAX_DIFFERENTIAL:g}", field=f"pattern[{index}]"
                )

    @property
    def minutes(self) -> int:
        """Number of full minutes of play covered."""
        return len(self.differentials)

    @property
    def last(self) -> float:
        """Last known differential: the persistence forecast."""
        return self.differentials[-1]


def check_slots(slots: int, horizon: Horizon) -> None:
    """Raise InvalidPattern unless a pattern with this many slots can be forecast to the horizon."""
    if not 1 <= slots <= horizon.last_slot:
        raise InvalidPattern(f"{slots} slots", f"1 to {horizon.last_slot} to forecast {horizon.value}")


def check_level_count(levels: int) -> None:
    """Raise InvalidQuantile if there are more than MAX_QUANTILES quantile levels."""
    if levels > MAX_QUANTILES:
        raise InvalidQuantile(f"{levels} levels", f"at most {MAX_QUANTILES}")


def check_total_points(total_points: int, lead: float, *, check_parity: bool = True) -> None:
    """Raise InvalidLiveInput unless the points of both teams fit the lead; see `live_inputs.total_points_fault`."""
    fault = total_points_fault(total_points, lead, check_parity=check_parity)
    if fault is not None:
        raise InvalidLiveInput(*fault)


class LineupEffects(NamedTuple):
    """Effects of line-ups on an expected margin, as in ExpectedMarginTerms: what the ledger keeps of line-ups."""

    usual_players: float = 0.0
    missing_players: float = 0.0
    home_missing: int = 0
    away_missing: int = 0

    @classmethod
    def of(cls, terms: ExpectedMarginTerms | None) -> LineupEffects:
        """Return those in the terms of a margin; none without terms."""
        return cls() if terms is None else cls(*(getattr(terms, name) for name in cls._fields))


@fast_frozen
class ForecastQuery:
    """Request for one forecast.

    Attributes:
        pattern: no longer than the horizon's last slot.
        alpha: miscoverage rate of the interval, in (0, 1).
        home_team, away_team: two different NBA codes; empty if not given. Team strength is used only if both are
            given.
        pregame_margin: expected final differential before the game, in points; overrides the teams' ratings. None
            if not given.
        explain: whether to include the explanation.
        quantile_levels: each in (0, 1), at most MAX_QUANTILES.
        record: whether to include the distribution, which the ledger uses for scoring.
        markets: odds to evaluate, at most one market of each kind; one of total points requires `live.total_points`.
        game_date: local date of the game: the age of the ratings is measured up to it, and the teams' schedule consists
            of their games before it. None: the age is not checked, and the schedule is not known.
        is_playoffs: whether the game is of the play-in or the playoffs; False if that is not known.
        live: the live inputs at the end of the pattern.
        lineups: players on court so far, or the effects that they had in an earlier forecast; requires both teams. None
            if not given.
        moment: state of the game since the pattern's last minute; None to forecast from the end of that minute. The
            live inputs are then those at the moment.

    Raises:
        InvalidInput: if a value is out of bounds or contradicts another, a subclass for each field, such as
            InvalidPattern; `others` has the errors of further fields.
    """

    pattern: ScorePattern
    horizon: Horizon = Horizon.HALFTIME
    alpha: float = DEFAULT_ALPHA
    home_team: str = ""
    away_team: str = ""
    pregame_margin: float | None = None
    explain: bool = False
    quantile_levels: tuple[float, ...] = ()
    record: bool = False
    markets: tuple[Market, ...] = ()
    game_date: date | None = None
    is_playoffs: bool = False
    live: LiveInputs = NO_LIVE_INPUTS
    lineups: Lineups | LineupEffects | None = None
    moment: Moment | None = None

    def __post_init__(self) -> None:
        check_slots(len(self.pattern.differentials), self.horizon)
        check_level_count(len(self.quantile_levels))
        faults = FieldErrors()
        if not 0.0 < self.alpha < 1.0:
            faults.add(InvalidAlpha(f"{self.alpha}", "a number strictly between 0 and 1"))
        if self.home_team or self.away_team:
            _add_team_faults(self, faults)
        margin = self.pregame_margin
        if margin is not None and not are_differentials((margin,)):
            faults.add(InvalidMargin(f"{margin}", f"a finite number within ±{MAX_DIFFERENTIAL:g}"))
        for index, level in enumerate(self.quantile_levels):
            if not 0.0 < level < 1.0:
                expected = "a number strictly between 0 and 1"
                faults.add(InvalidQuantile(f"{level}", expected, field=f"quantile_levels[{index}]"))
                break
        if self.game_date is not None and not FIRST_DAY <= self.game_date <= LAST_DAY:
            faults.add(InvalidGameDate(f"{self.game_date}", f"a date from {FIRST_DAY} to {LAST_DAY}"))
        for fault in faults_of(self.live, _up_to_now(self) if _add_moment_faults(self, faults) else ()):
            faults.add(InvalidLiveInput(*fault))
        if self.markets:
            _add_market_faults(self, faults)
        if isinstance(self.lineups, Lineups):
            _add_lineup_faults(self, self.lineups, faults)
        faults.raise_first()

    @property
    def differentials(self) -> tuple[float, ...]:
        """The pattern, with the differential of the moment as an incomplete minute; of the last one, in its place."""
        differentials, moment = self.pattern.differentials, self.moment
        if moment is None or moment.is_end_of_minute:
            return differentials
        return (*differentials[: self.horizon.last_slot - 1], float(moment.differential))

    def market(self, kind: MarketKind) -> Market | None:
        """Return the market of a kind; None without one."""
        return next((each for each in self.markets if each.kind is kind), None)

    @property
    def total_market_field(self) -> str | None:
        """Name of the field of the market of total points, such as `markets[1]`; None without one."""
        kinds = [each.kind for each in self.markets]
        return f"markets[{kinds.index(MarketKind.TOTAL)}]" if MarketKind.TOTAL in kinds else None


def _add_market_faults(query: ForecastQuery, faults: FieldErrors) -> None:
    kinds = [each.kind for each in query.markets]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            expected = "one market of each kind"
            faults.add(InvalidMarket(f"a second one, {kind.name}", expected, field=f"markets[{index}].kind"))
    if (field := query.total_market_field) is None:
        return
    if query.live.total_points is None:
        faults.add(InvalidMarket("no total_points", "total_points beside it", field=field))
    if query.moment is not None:
        faults.add(InvalidMarket("with a moment", "none: total points are not forecast at a moment", field=field))


def _add_moment_faults(query: ForecastQuery, faults: FieldErrors) -> bool:
    """Add the faults of a query's moment; return whether it is possible after the pattern. True without one."""
    moment = query.moment
    if moment is None:
        return True
    fault = moment_fault(moment, query.pattern.differentials, query.horizon)
    if fault is not None:
        faults.add(InvalidLiveInput(*fault))
    ball = query.live.possession
    if moment.free_throws and (ball is None or ball.shot_in_air):
        faults.add(
            InvalidLiveInput("without a side that has the ball", "possession, not shot_in_air", "moment.free_throws")
        )
    return fault is None


def _up_to_now(query: ForecastQuery) -> tuple[float, ...]:
    """Return a query's differentials, with those of all minutes that have begun before its moment."""
    differentials, moment = query.pattern.differentials, query.moment
    if moment is None:
        return differentials
    return (*differentials, *[float(moment.differential)] * (moment.begun - len(differentials)))


def _add_lineup_faults(query: ForecastQuery, lineups: Lineups, faults: FieldErrors) -> None:
    if not (query.home_team and query.away_team):
        faults.add(InvalidLiveInput("no teams", "home_team and away_team beside them", "lineups"))
    if not 0 <= lineups.minute <= query.pattern.minutes:
        expected = f"0 to {query.pattern.minutes}, the minutes of the pattern"
        faults.add(InvalidLiveInput(f"{lineups.minute}", expected, "lineups.minute"))
    for name, found, expected in lineup_faults(lineups):
        faults.add(InvalidLiveInput(found, expected, name))


def _add_team_faults(query: ForecastQuery, faults: FieldErrors) -> None:
    for name in ("home_team", "away_team"):
        code = getattr(query, name)
        if code and code not in TEAMS:
            faults.add(InvalidTeam(quoted(code), "an NBA code such as BOS", field=name))
    if query.home_team and query.home_team == query.away_team:
        faults.add(InvalidTeam(query.away_team, "another team than home_team", field="away_team"))


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsQuery:
    """Request for forecasts of n games to one horizon.

    Attributes:
        patterns: differentials at the end of each minute of play of all games, one game after another, in points.
        minutes: (n,), number of minutes of each game's pattern, from 1 to the last before the horizon.
        margins: (n,), expected final differentials before the games, in points; NaN if unknown.
        horizon: the horizon.
        alpha: miscoverage rate of the intervals, in (0, 1).
        quantile_levels: each in (0, 1), at most MAX_QUANTILES.
        checked: whether the values have been validated already, as in a part of a validated request.

    Raises:
        InvalidPattern, InvalidMargin, InvalidAlpha, InvalidQuantile: if a value is out of bounds or columns differ in
            length; `others` has the errors of further fields.
    """

    patterns: Floats
    minutes: Integers
    margins: Floats
    horizon: Horizon = Horizon.HALFTIME
    alpha: float = DEFAULT_ALPHA
    quantile_levels: tuple[float, ...] = ()
    checked: bool = False

    def __post_init__(self) -> None:
        if self.checked:
            return
        check_level_count(len(self.quantile_levels))
        faults = FieldErrors()
        faults.read(self._check_patterns, None)
        faults.read(self._check_margins, None)
        faults.read(self.query_of, None, (0.0,))  # the options
        faults.raise_first()

    def __len__(self) -> int:
        return len(self.minutes)

    def _check_patterns(self) -> None:
        longest = self.horizon.last_slot
        wrong = np.flatnonzero((self.minutes < 1) | (self.minutes > longest))
        if len(wrong):
            row = int(wrong[0])
            expected = f"1 to {longest} to forecast {self.horizon.value}"
            raise InvalidPattern(f"{self.minutes[row]} slots", expected, field=f"minutes[{row}]")
        slots = int(self.minutes.sum())
        if slots != len(self.patterns):
            expected = f"{slots} slots, the sum of minutes"
            raise InvalidPattern(f"{len(self.patterns)} slots", expected, field="patterns")
        wrong = np.flatnonzero(~(np.abs(self.patterns) <= MAX_DIFFERENTIAL))  # NaN too
        if len(wrong):
            slot = int(wrong[0])
            row = int(np.searchsorted(self.offsets, slot, side="right")) - 1
            raise InvalidPattern(
                f"{self.patterns[slot]:g} in minute {slot - int(self.offsets[row]) + 1} of game {row}",
                f"a finite number within ±{MAX_DIFFERENTIAL:g}",
                field=f"patterns[{slot}]",
            )

    def _check_margins(self) -> None:
        margins = self.margins
        if len(margins) != len(self):
            expected = f"none, or one for each of the {len(self)} games"
            raise InvalidMargin(f"{len(margins)} margins", expected, field="pregame_margins")
        wrong = np.flatnonzero(np.abs(margins) > MAX_DIFFERENTIAL)
        if len(wrong):
            row = int(wrong[0])
            expected = f"a number within ±{MAX_DIFFERENTIAL:g}, or NaN if unknown"
            raise InvalidMargin(f"{margins[row]:g}", expected, field=f"pregame_margins[{row}]")

    @property
    def offsets(self) -> Integers:
        """(n + 1,), the first slot of each game in `patterns`, then the total number of slots."""
        return np.concatenate([[0], np.cumsum(self.minutes)])

    def query_of(self, differentials: Sequence[float], margin: float = math.nan) -> ForecastQuery:
        """Return the query of one game with these options."""
        return ForecastQuery(
            ScorePattern(tuple(differentials)),
            self.horizon,
            self.alpha,
            pregame_margin=None if math.isnan(margin) else margin,
            quantile_levels=self.quantile_levels,
        )

    def queries(self) -> list[ForecastQuery]:
        """Return the queries of all games."""
        offsets, slots = self.offsets.tolist(), self.patterns.tolist()
        return [
            self.query_of(slots[offsets[row] : offsets[row + 1]], margin)
            for row, margin in enumerate(self.margins.tolist())
        ]

    def rows(self, start: int, stop: int) -> ColumnsQuery:
        """Return the request for some of the games."""
        offsets, minutes, margins = self.offsets, self.minutes[start:stop], self.margins[start:stop]
        patterns = self.patterns[offsets[start] : offsets[min(stop, len(self))]]
        return replace(self, patterns=patterns, minutes=minutes, margins=margins, checked=True)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsForecast:
    """Forecasts of n games; each equals the forecast of the game alone.

    Attributes:
        model_version: version of the model.
        calibration_sequence: ledger sequence of the newest outcome applied to calibration and ratings; 0 if none.
        points: (n,), point forecasts, in points.
        lower, upper: (n,), ends of the intervals, in points.
        home_lead_probabilities: (n,).
        quantiles: (n, levels), in points.
    """

    model_version: str
    calibration_sequence: int
    points: Floats
    lower: Floats
    upper: Floats
    home_lead_probabilities: Floats
    quantiles: Floats
