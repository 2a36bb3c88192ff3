"""Domain types: frozen dataclasses that validate on construction.

All differentials are home − away, in points. A pattern's slot m is the differential at the end of minute m.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from dejavu_common.frozen import fast_frozen
from dejavu_feed.horizon import CASES, HORIZONS, MAX_SLOTS, ROWS, Horizon
from dejavu_feed.moment import Moment
from dejavu_models.betting import MarketAnswer

__all__ = ["CASES", "HORIZONS", "MAX_SLOTS", "ROWS", "Horizon"]  # re-exported: horizons are domain types too

MAX_DIFFERENTIAL = 200.0
"""Bound of a differential, in points; the largest margin of any NBA game is 73."""

PLAUSIBLE_GAP: Final = 12.0
"""Default of the largest plausible difference between the margin of a request and that of the ratings, in points."""

THRESHOLDS: Final = {Horizon.HALFTIME: 0.5, Horizon.FINAL: 0.0}
"""Predicted differential above which the home team counts as leading. At halftime a prediction below half a point
rounds to a tie, which is not a lead; a final score is never a tie."""


@fast_frozen
class Interval:
    """Closed interval of differentials, in points."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= self.upper):
            raise ValueError(f"not an interval: [{self.lower}, {self.upper}]")

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


@fast_frozen
class SimilarGame:
    """A past game that resembles the requested one after the same minute.

    Attributes:
        home_team, away_team: NBA codes, as the game was played.
        date: local date.
        mirrored: whether its away team has the part of the requested home team: its differentials, also those of its
            course, then are away − home.
        distance: distance between the games after the minute, in points.
        differential: its differential after the minute, in points.
        differential_at_horizon: its differential at the horizon, in points.
        points, final_points: points of its home and its away team after the minute, and at its end; None if unknown.
    """

    home_team: str
    away_team: str
    date: date
    mirrored: bool
    distance: float
    differential: int
    differential_at_horizon: int
    points: tuple[int, int] | None = None
    final_points: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """Human-readable name."""
        return f"{self.date.isoformat()} {self.away_team} @ {self.home_team}"


SAME_LEAD_POINTS: Final = 2
"""Greatest difference between two leads that count as the same, in points."""


class SimilarSummary(NamedTuple):
    """What happened in the similar games that a forecast is made of, and that had its lead.

    Attributes:
        minute: minute after which the games are compared.
        games: number of games that the forecast is made of; a game and its mirror image count as two.
        same_lead: number of those whose differential after the minute is within SAME_LEAD_POINTS of the requested
            game's; the following are of them.
        home_led: number in which the team in the part of the requested home team led at the horizon.
        turned: number in which the team in the part of the one that is behind led at the horizon; 0 if none is behind.
        correction: prediction of Dejavu less the mean of their differentials at the horizon, in points: what the
            teams, home advantage and live inputs of this game add to these games' mean, and also what these games
            differ from it in lead and by chance (about 13 / sqrt(same_lead) points); 0 if `same_lead` is 0.
    """

    minute: int
    games: int
    same_lead: int
    home_led: int
    turned: int
    correction: float


class Attribution(NamedTuple):
    """Additive decomposition of a point forecast: before_tipoff + sum(minutes) + components; in points.

    Attributes:
        before_tipoff: forecast of the linear models before the game.
        minutes: change of it when each minute became known, one value per slot; live inputs are part of the last one.
        components: change by the components beside the linear models.
    """

    before_tipoff: float
    minutes: tuple[float, ...]
    components: float = 0.0


class Contribution(NamedTuple):
    """What moved a forecast, and by how much, in points."""

    name: str
    points: float


COMPONENTS: Final = ("dejavu", "lstm")
"""Models that ship, whose distributions are pooled with that of the linear models: similar games, and the recurrent
network. A bundle may have both, one or none, and further components of other packages."""


LINEAR: Final = "linear"
"""Name of the linear models of lead and expected margin in an explanation."""


class ComponentPrediction(NamedTuple):
    """Prediction of a component: a differential at the horizon, in points; `weight` is its share of the forecast."""

    name: str
    prediction: float
    weight: float


@fast_frozen
class Explanation:
    """Explanation of a forecast; predictions are differentials at the horizon, in points.

    Attributes:
        components: the linear models, then the components that the model has, in the order of the manifest. Their
            weights sum to 1, and their weighted predictions to the point forecast. Live inputs shift all predictions
            alike.
        baseline_prediction: persistence, the last known differential.
        similar_games: the nearest of the games in the summary, nearest first; at most MOST_SIMILAR.
        similar_summary: None without similar games.
        calibration_games: number of games behind the interval and the probability.
        contributions: what moved the forecast, the greatest size first; their points sum to the point forecast. Names:
            ratings, schedule, players, line, minutes, live (the last score or the possession), and the components.
    """

    components: tuple[ComponentPrediction, ...]
    baseline_prediction: float
    similar_games: tuple[SimilarGame, ...]
    calibration_games: int
    attribution: Attribution
    similar_summary: SimilarSummary | None = None
    contributions: tuple[Contribution, ...] = ()


MOST_SIMILAR: Final = 5
"""Maximum number of similar games in an explanation."""


class Quantile(NamedTuple):
    """Quantile of the outcome: P(differential ≤ value) = level; value in points."""

    level: float
    value: float


DISTRIBUTION_LEVELS = tuple((2 * index + 1) / 100 for index in range(50))
"""Levels of the quantiles stored with a recorded forecast: midpoints of 50 equal bins, 0.01, 0.03, … 0.99."""


class AdaptationMode(enum.Enum):
    """Whether forecasts use the adapted intervals (ON) or only report them (SHADOW); the value is used in files."""

    SHADOW = "shadow"
    ON = "on"


@fast_frozen
class Adaptation:
    """Adapted and static interval of a forecast, with the rolling coverage of both.

    Attributes:
        adapted: interval adapted to reported outcomes.
        static: interval of the model as calibrated.
        rolling_games: number of settled games of the same model, horizon and quarter in the rolling window.
        rolling_coverage: share of them whose outcome lay in the adapted interval of this alpha; None without games.
        static_rolling_coverage: the same share for static intervals.
    """

    mode: AdaptationMode
    adapted: Interval
    static: Interval
    rolling_games: int = 0
    rolling_coverage: float | None = None
    static_rolling_coverage: float | None = None


class WarningReason(enum.Enum):
    """Why a forecast is less reliable than usual; the value is used in files."""

    RATINGS_OUTDATED = "ratings_outdated"
    """The newest final that the ratings know is too long before the game: they are not used."""

    RATINGS_AHEAD = "ratings_ahead"
    """The ratings know finals from after the game: they are used only if these finals are from shortly after it."""

    MODEL_UNFIT = "model_unfit"
    """The recipe of the model failed its backtest."""

    TEAM_LITTLE_KNOWN = "team_little_known"
    """The strength of a team is known less well than on a usual opening night."""

    IMPLAUSIBLE_MARGIN = "implausible_margin"
    """The margin of the request, which is used, is far from that of the ratings: one of the two is probably wrong."""


@fast_frozen
class TeamKnowledge:
    """Uncertainty of a team's rating before a game.

    Attributes:
        deviation: standard deviation of its strength, in points.
        finals: number of the team's finals of the season that the ratings know.
        earlier_date: local date up to which the ratings know the team from before these finals; None if they know it
            from these finals alone.
    """

    deviation: float
    finals: int
    earlier_date: date | None = None


@fast_frozen
class ExpectedMarginTerms:
    """Terms of the expected margin of a game, in points, home − away; their sum is the margin.

    Attributes:
        strength_difference: strength of the home team minus that of the visitors.
        home_advantage: advantage of any home team.
        schedule: effect of games on the day before and on the last six days.
        playoffs: additional advantage of a home team in the play-in and the playoffs; 0 in other games.
        altitude: additional advantage of a home team high above sea level; 0 elsewhere.
        schedule_known: whether the games of both teams on these days were known; always false for a model without terms
            of the schedule.
        usual_players: value of the usual players of both teams beyond the teams' results, by the players' ratings; 0 if
            the line-ups are unknown.
        missing_players: effect of the players seen so far, and of the usual ones not yet seen; 0 as above.
        home_missing, away_missing: number of the five players with the most usual minutes who have not been seen.
    """

    strength_difference: float
    home_advantage: float
    schedule: float = 0.0
    playoffs: float = 0.0
    altitude: float = 0.0
    schedule_known: bool = False
    usual_players: float = 0.0
    missing_players: float = 0.0
    home_missing: int = 0
    away_missing: int = 0

    @property
    def of_teams(self) -> float:
        """The margin without players, in points."""
        return self.strength_difference + self.home_advantage + self.schedule + self.playoffs + self.altitude

    @property
    def margin(self) -> float:
        """The expected final differential before the game, in points."""
        return self.of_teams + self.usual_players + self.missing_players


@fast_frozen
class TotalForecast:
    """Forecast of the total points at a horizon, in addition to that of the differential.

    Attributes:
        point: forecast total, in points; lies in the interval.
        interval: contains the outcome with probability 1 − alpha of the forecast; whole numbers, not below the current
            points.
        quantiles: in the order of the requested levels.
        expected_total: expected final total before the game, as used by the forecast, in points; None if unknown.
        distribution: quantiles of the total at DISTRIBUTION_LEVELS, in points; empty unless the forecast is to be
            recorded.
        market: evaluation of the query's market of total points; None without one.
    """

    point: float
    interval: Interval
    quantiles: tuple[Quantile, ...] = ()
    expected_total: float | None = None
    distribution: tuple[float, ...] = ()
    market: MarketAnswer | None = None


@fast_frozen
class Forecast:
    """Forecast of the differential at a horizon.

    Attributes:
        point: forecast differential, in points; lies in the interval.
        interval: contains the outcome with probability 1 − alpha.
        home_lead_probability: P(differential > 0) at the horizon.
        model_version: version of the bundle that produced it.
        explanation: None unless requested.
        quantiles: in the order of the requested levels.
        expected_margin: expected final differential before the game, as used by the forecast, in points; None if no
            margin was given and no ratings could be used.
        rated_margin: margin by the team ratings, in points, if the request gave a margin and both teams; None if not,
            or if the ratings are not usable.
        calibration_sequence: ledger sequence of the newest outcome applied to calibration and ratings; 0 if none.
        adaptation: None if adaptation is off.
        distribution: quantiles of the differential at DISTRIBUTION_LEVELS, in points, rounded to 0.001; empty unless
            the forecast is to be recorded.
        static_scores: standard-normal scores of the quantiles of `distribution` under the model as calibrated; empty
            if they equal those of DISTRIBUTION_LEVELS, which is the case unless intervals are adapted.
        market: evaluation of the query's market of the lead; None without one.
        ratings_date: local date of the newest final that the teams' ratings know, whether or not they were used. Unless
            the ratings are ahead of the game, it is the date on which their knowledge of its teams ends. None unless
            both teams were given, and no margin.
        finals_since: number of finals that these ratings know beyond those of the bundle.
        warnings: reasons why the forecast is less reliable than usual.
        outdated_teams: NBA codes of the teams for which the ratings end on `ratings_date`, before a gap; empty if the
            ratings of all teams end then.
        expected_margin_terms: terms of `expected_margin`; None unless it is from the teams' ratings.
        total: forecast of the points of both teams; None if the query has no total points, or the model no totals.
        teams_known: uncertainty of the ratings of home and away; empty if they provide neither margin nor total.
        moment: the moment of the query; None if it was forecast from the end of a minute.
        widened_by: share by which the distribution is wider than calibrated, because the ratings know the teams less
            well than its tables assume; 0 if the ratings know them well enough.
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
    ratings_date: date | None = None
    finals_since: int = 0
    warnings: tuple[WarningReason, ...] = ()
    outdated_teams: tuple[str, ...] = ()
    expected_margin_terms: ExpectedMarginTerms | None = None
    total: TotalForecast | None = None
    teams_known: tuple[TeamKnowledge, ...] = ()
    widened_by: float = 0.0
    rated_margin: float | None = None
    moment: Moment | None = None

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of play since tip-off."""
        return 60.0 * self.elapsed_minutes if self.moment is None else self.moment.elapsed


class HorizonSupport(NamedTuple):
    """A supported horizon and its range of pattern lengths, in slots (both ends included)."""

    horizon: Horizon
    min_slots: int
    max_slots: int


class Metric(NamedTuple):
    """Metric measured when a model was trained, with its 95 % bootstrap interval over games if available."""

    name: str
    value: float
    lower: float | None = None
    upper: float | None = None


class MarginSource(enum.IntEnum):
    """Source of the expected margin of a query. The values are indices on margin-source axes.

    UNKNOWN: no margin. KNOWN: from ratings updated by reported outcomes once both teams have enough games
    (`live_ratings.KNOWN_GAMES`); the calibration games used ratings updated in the same way. RATED: from the bundle's
    own ratings, which are frozen while team strength changes. LINE: from the request, the line of a betting market,
    which knows more than ratings; a bundle that was trained without lines treats it as KNOWN. The point models treat
    RATED as KNOWN; the errors of the two differ, so each has its own calibration.
    """

    UNKNOWN = 0
    KNOWN = 1
    RATED = 2
    LINE = 3


class ComponentWeight(NamedTuple):
    """Weight of a component in the forecasts of a horizon in a quarter, for a source of the expected margin.

    Attributes:
        component: LINEAR, or one of the model's components.
        quarter: 1 to 4.
        margin_source: one of LINEAR_SOURCES.
        weight: in [0, 1].
        lower, upper: ends of the range that contains 95 % of the learned weight over resampled games; both `weight`
            where it was fixed.
    """

    component: str
    horizon: Horizon
    quarter: int
    margin_source: MarginSource
    weight: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Description and capabilities of a model.

    Attributes:
        ratings_date: local date of the newest final that the team ratings know.
        finals_since: number of finals that the ratings know beyond those of the bundle.
        unseen_teams: NBA code → date on which the ratings end for a team that has had no final since a gap.
        max_ratings_days: greatest age at which ratings are used; see `ratings.are_usable`.
        approved: whether its recipe passed the backtest; `verdict_reason` has the grounds.
        inputs: names of the optional inputs that its forecasts depend on, such as total_points.
        components: components beside its linear models, in the order of the manifest.
        past_games: number of games in its Dejavu database.
        weights: weights of its components and of the linear models.
        similar_games: number of similar games that a forecast is made of; 0 without Dejavu.
        network_units: number of units of the LSTM; 0 without it.
        half_width: half the width of the 95 % interval of the half, in points, for a level game of even teams after 18
            minutes.
        totals: whether it forecasts the points of both teams too, for requests with total_points.
        line: whether it has distributions for the line of a market.
    """

    version: str
    horizons: tuple[HorizonSupport, ...]
    smallest_alpha: float
    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    train_games: int
    calibration_games: int
    past_games: int
    created_time: datetime
    metrics: tuple[Metric, ...]
    ratings_date: date
    approved: bool
    verdict_reason: str
    finals_since: int = 0
    max_ratings_days: int = 30
    unseen_teams: Mapping[str, date] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    weights: tuple[ComponentWeight, ...] = ()
    similar_games: int = 0
    network_units: int = 0
    half_width: float = 0.0
    totals: bool = False
    line: bool = False


WITHOUT_LINE: Final = (MarginSource.UNKNOWN, MarginSource.KNOWN, MarginSource.RATED)
"""Sources for which every bundle has distributions."""

MARGIN_SOURCES: Final = (MarginSource.UNKNOWN, MarginSource.KNOWN)
"""Sources that the components of the point models distinguish: the order of their margin-source axes."""

LINEAR_SOURCES: Final = (*MARGIN_SOURCES, MarginSource.LINE)
"""Sources that the linear models distinguish: the order of their margin-source axis."""
