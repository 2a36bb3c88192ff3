"""The words of the domain as types: frozen, and valid once made.

All differentials are home − away, in points. A pattern's slot m is the differential at the end of minute m.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import date, datetime

from dejavu_models.errors import InvalidAlpha, InvalidMargin, InvalidPattern

MAX_SLOTS = 47
"""The most slots a pattern can have: at minute 48 there is nothing left to forecast."""

MAX_DIFFERENTIAL = 200.0
"""Bound of a differential, in points; the largest margin ever seen in an NBA game is 73."""

DEFAULT_ALPHA = 0.05


class Horizon(enum.Enum):
    """The moment of the game that a forecast speaks of; its value is the name used in files."""

    HALFTIME = "halftime"
    FINAL = "final"


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
        alpha: miscoverage rate of the interval, in (0, 1).
        pregame_margin: expected final differential before the game, in points; None if not given.
        explain: whether the forecast must carry its explanation.

    Raises:
        InvalidAlpha, InvalidMargin: if a value is not finite or out of bounds.
    """

    pattern: ScorePattern
    horizon: Horizon = Horizon.HALFTIME
    alpha: float = DEFAULT_ALPHA
    home_team: str = ""
    away_team: str = ""
    pregame_margin: float | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InvalidAlpha(f"{self.alpha}", "a number strictly between 0 and 1")
        margin = self.pregame_margin
        if margin is not None and not -MAX_DIFFERENTIAL <= margin <= MAX_DIFFERENTIAL:
            raise InvalidMargin(f"{margin}", f"a finite number within ±{MAX_DIFFERENTIAL:g}")


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
    """

    home_team: str
    away_team: str
    date: date
    distance: float
    differential_at_horizon: float
    games: int

    @property
    def label(self) -> str:
        """A name for people."""
        name = f"{self.date.isoformat()} {self.away_team} @ {self.home_team}"
        return name if self.games == 1 else f"{name} and {self.games - 1} like it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a forecast rests on; predictions are differentials at the horizon, in points."""

    dejavu_prediction: float
    lstm_prediction: float
    ensemble_forecast: float
    baseline_prediction: float
    dejavu_weight: float
    lstm_weight: float
    similar_games: tuple[SimilarGame, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of the differential at a horizon.

    Attributes:
        point: forecast differential, in points; lies in the interval.
        interval: holds with probability 1 − alpha.
        home_lead_probability: P(differential > 0) at the horizon.
        model_version: version of the bundle that made it.
        explanation: None unless it was asked for.
    """

    horizon: Horizon
    elapsed_minutes: int
    alpha: float
    point: float
    interval: Interval
    home_lead_probability: float
    model_version: str
    explanation: Explanation | None = None


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
    """What a model is and can do."""

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
