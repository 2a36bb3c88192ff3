"""The words of the domain as types: frozen, and valid once made.

All differentials are home − away, in points. A pattern's slot m is the differential at the end of minute m.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from dejavu_feed.names import TEAMS
from dejavu_models.betting import Market, MarketAnswer
from dejavu_models.errors import InvalidAlpha, InvalidMargin, InvalidPattern, InvalidQuantile, InvalidTeam, quoted

MAX_SLOTS = 47
"""The most slots a pattern can have: at minute 48 there is nothing left to forecast."""

MAX_DIFFERENTIAL = 200.0
"""Bound of a differential, in points; the largest margin ever seen in an NBA game is 73."""

DEFAULT_ALPHA = 0.05

MAX_QUANTILES = 99
"""The most quantiles that a query can ask for."""


class Horizon(enum.Enum):
    """The moment of the game that a forecast speaks of; its value is the name used in files."""

    HALFTIME = "halftime"
    FINAL = "final"

    @property
    def last_slot(self) -> int:
        """The most slots with which there is something left to forecast."""
        return 23 if self is Horizon.HALFTIME else MAX_SLOTS


@dataclass(frozen=True, slots=True)
class ScorePattern:
    """Score differentials at the end of each minute of play, from the first on.

    Raises:
        InvalidPattern: if it is empty, longer than 47 slots, or a value is not finite or beyond ±200.
    """

    differentials: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.differentials) <= MAX_SLOTS:
            raise InvalidPattern(f"{len(self.differentials)} slots", f"1 to {MAX_SLOTS}")
        for index, value in enumerate(self.differentials):
            if not -MAX_DIFFERENTIAL <= value <= MAX_DIFFERENTIAL:  # false for NaN too
                raise InvalidPattern(
                    f"{value}", f"a finite number within ±{MAX_DIFFERENTIAL:g}", field=f"pattern[{index}]"
                )

    @property
    def minutes(self) -> int:
        """Whole minutes of play that it covers."""
        return len(self.differentials)

    @property
    def last(self) -> float:
        """The last known differential: what persistence forecasts."""
        return self.differentials[-1]


@dataclass(frozen=True, slots=True)
class ForecastQuery:
    """What a forecaster is asked.

    Attributes:
        pattern: no longer than the horizon's last slot.
        alpha: miscoverage rate of the interval, in (0, 1).
        home_team, away_team: NBA codes, two different ones; empty where not given. Both are needed to count their
            strength.
        pregame_margin: expected final differential before the game, in points, in place of the teams' ratings; None
            if not given.
        explain: whether the forecast must carry its explanation.
        quantile_levels: each in (0, 1), at most MAX_QUANTILES.
        record: whether the forecast must carry its distribution, by which the ledger scores it.
        market: odds that the answer is to weigh; None if not given.

    Raises:
        InvalidPattern, InvalidAlpha, InvalidTeam, InvalidMargin, InvalidQuantile: if a value is out of bounds.
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
    market: Market | None = None

    def __post_init__(self) -> None:
        if self.pattern.minutes > self.horizon.last_slot:
            expected = f"1 to {self.horizon.last_slot} to forecast {self.horizon.value}"
            raise InvalidPattern(f"{self.pattern.minutes} slots", expected)
        if not 0.0 < self.alpha < 1.0:
            raise InvalidAlpha(f"{self.alpha}", "a number strictly between 0 and 1")
        for field in ("home_team", "away_team"):
            code = getattr(self, field)
            if code and code not in TEAMS:
                raise InvalidTeam(quoted(code), "an NBA code such as BOS", field=field)
        if self.home_team and self.home_team == self.away_team:
            raise InvalidTeam(self.away_team, "another team than home_team", field="away_team")
        margin = self.pregame_margin
        if margin is not None and not -MAX_DIFFERENTIAL <= margin <= MAX_DIFFERENTIAL:
            raise InvalidMargin(f"{margin}", f"a finite number within ±{MAX_DIFFERENTIAL:g}")
        if len(self.quantile_levels) > MAX_QUANTILES:
            raise InvalidQuantile(f"{len(self.quantile_levels)} levels", f"at most {MAX_QUANTILES}")
        for index, level in enumerate(self.quantile_levels):
            if not 0.0 < level < 1.0:
                raise InvalidQuantile(
                    f"{level}", "a number strictly between 0 and 1", field=f"quantile_levels[{index}]"
                )


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of differentials, in points."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= self.upper):
            raise ValueError(f"not an interval: [{self.lower}, {self.upper}]")

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


@dataclass(frozen=True, slots=True)
class SimilarGame:
    """A past game, or the group of past games that one prototype stands for.

    Attributes:
        date: local date of the game (for a group: of the game nearest to its mean).
        distance: distance between the patterns, in points.
        differential_at_horizon: the asked game's last differential plus the increment seen there, in points.
        games: how many games it stands for.
        increment: from that minute to the horizon, in points; of a group, the mean.
        increment_spread: standard deviation of a group's increments, in points; 0 for one game.
    """

    home_team: str
    away_team: str
    date: date
    distance: float
    differential_at_horizon: float
    games: int
    increment: float = 0.0
    increment_spread: float = 0.0

    @property
    def label(self) -> str:
        """A name for people."""
        name = f"{self.date.isoformat()} {self.away_team} @ {self.home_team}"
        return name if self.games == 1 else f"{name} and {self.games - 1} like it"


@dataclass(frozen=True, slots=True)
class Attribution:
    """A point forecast as a sum: before_tipoff + all of minutes + similar_games; in points.

    Attributes:
        before_tipoff: what was expected before the game.
        minutes: by how much each minute moved the forecast when it became known, one for each slot.
        similar_games: by how much the nearest past games moved it.
    """

    before_tipoff: float
    minutes: tuple[float, ...]
    similar_games: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a forecast rests on; predictions are differentials at the horizon, in points.

    Attributes:
        baseline_prediction: persistence, the last known differential.
        linear_prediction: of the linear model on lead and expected margin from which the two others begin.
        calibration_games: how many games the interval and the probability were taken from; 0 where it is not known.
        attribution: None in records of releases that did not make it.
    """

    dejavu_prediction: float
    lstm_prediction: float
    ensemble_forecast: float
    baseline_prediction: float
    dejavu_weight: float
    lstm_weight: float
    similar_games: tuple[SimilarGame, ...]
    linear_prediction: float = 0.0
    calibration_games: int = 0
    attribution: Attribution | None = None


@dataclass(frozen=True, slots=True)
class Quantile:
    """The differential, in points, that the outcome stays at or below with probability `level`."""

    level: float
    value: float


DISTRIBUTION_LEVELS = tuple((2 * place + 1) / 100 for place in range(50))
"""Levels of the quantiles that a recorded forecast keeps: the midpoints of 50 equal parts, 0.01, 0.03, … 0.99."""


class AdaptationMode(enum.Enum):
    """Whether forecasts follow what outcomes teach; its value is the name used in files."""

    SHADOW = "shadow"
    ON = "on"


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What outcomes have taught about the interval of a forecast, and how such intervals have fared.

    Attributes:
        adapted: the interval that follows the outcomes.
        static: the interval as the model was calibrated.
        rolling_games: how many settled games of the same model, horizon and stage of the game the shares are of.
        rolling_coverage: share of those in which an adapted interval of this alpha held; None without games.
        static_rolling_coverage: the same of intervals as the model was calibrated.
    """

    mode: AdaptationMode
    adapted: Interval
    static: Interval
    rolling_games: int = 0
    rolling_coverage: float | None = None
    static_rolling_coverage: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of the differential at a horizon.

    Attributes:
        point: forecast differential, in points; lies in the interval.
        interval: holds with probability 1 − alpha.
        home_lead_probability: P(differential > 0) at the horizon.
        model_version: version of the bundle that made it.
        explanation: None unless it was asked for.
        quantiles: in the order of the levels asked for.
        expected_margin: the expected final differential before the game that it was made with, in points; None if
            neither it nor both teams were given.
        calibration_sequence: place in the ledger of the newest outcome that calibration and ratings had learned from;
            0: of none.
        adaptation: None where intervals do not adapt.
        distribution: quantiles of the differential at DISTRIBUTION_LEVELS, in points, rounded to 0.001; empty unless it
            is to be recorded.
        static_scores: the standard-normal scores that the model as it was calibrated gives to the quantiles of
            `distribution`; equal to those of DISTRIBUTION_LEVELS, and empty here, unless intervals are adapted.
        market: what it says of the query's market; None without one.
    """

    horizon: Horizon
    elapsed_minutes: int
    alpha: float
    point: float
    interval: Interval
    home_lead_probability: float
    model_version: str
    explanation: Explanation | None = None
    quantiles: tuple[Quantile, ...] = ()
    expected_margin: float | None = None
    calibration_sequence: int = 0
    adaptation: Adaptation | None = None
    distribution: tuple[float, ...] = ()
    static_scores: tuple[float, ...] = ()
    market: MarketAnswer | None = None


@dataclass(frozen=True, slots=True)
class HorizonSupport:
    """A horizon that a model knows, and the numbers of slots it can be asked with (both ends included)."""

    horizon: Horizon
    min_slots: int
    max_slots: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure measured when a model was made, with its 95 % bootstrap interval over games where there is one."""

    name: str
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is and can do.

    Attributes:
        ratings_date: local date of the last game that the teams' ratings count.
        fit: whether its recipe's backtest spoke for it; `verdict_reason` says what that rests on.
    """

    version: str
    horizons: tuple[HorizonSupport, ...]
    smallest_alpha: float
    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    train_games: int
    calibration_games: int
    database_entries: int
    created_time: datetime
    metrics: tuple[Metric, ...]
    ratings_date: date
    approved: bool
    verdict_reason: str


HORIZONS: Final = (Horizon.HALFTIME, Horizon.FINAL)
"""The order of every axis that runs over horizons."""


class MarginSource(enum.IntEnum):
    """Where the expected margin of a query comes from. The values are places on the axes that run over sources.

    UNKNOWN: there is none. KNOWN: from the request, or from ratings that reported outcomes carry on, once both teams
    have had enough games (`online_state.KNOWN_GAMES`), as the calibration games' were. RATED: from the bundle's own
    ratings, which stand still while teams do not. The point models treat RATED as KNOWN; the errors of the two differ,
    so each has its own calibration.
    """

    UNKNOWN = 0
    KNOWN = 1
    RATED = 2


MARGIN_SOURCES: Final = (MarginSource.UNKNOWN, MarginSource.KNOWN)
"""Sources that the point models tell apart: the order of every axis of theirs that runs over sources."""
