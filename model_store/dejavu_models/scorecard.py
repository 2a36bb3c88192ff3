"""How settled forecasts fared: a scorecard from their errors and scores, and model versions in order of a figure.

One game is the unit: its forecasts, minute by minute, share their fate. So a figure is the mean over games of each
game's mean, and its interval comes from how the games' means spread. Within a game each minute counts alike, however
often it was asked about: who asks with ten alphas or margins gets ten forecasts of that minute and no more weight.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.types import MAX_SLOTS

LEVEL = 0.95
"""Of the intervals of figures."""

LEADERBOARD_ALPHA = 0.05
"""The miscoverage rate whose coverage model versions are ordered by."""

_Z = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class SettledForecasts:
    """Forecasts and how they fared, column by column: arrays of one length, one value a forecast.

    Attributes:
        game: which game, as a number; equal exactly for forecasts of one game.
        minute: that they were made after, 1 to 47.
        error: point forecast − differential, in points.
        persistence_error: last known differential − differential, in points.
        covered: whether the outcome lay in the interval.
        alpha: miscoverage rate that the interval was asked with.
        width: of the interval, in points.
        probability: that the home team leads at the horizon, as forecast.
        home_led: whether it did.
        brier: (probability − home_led)².
        crps: in points; NaN where there is none.
        stake: on the market asked about with, as a share of the bankroll; 0 for no bet, NaN without a market.
        profit: what it brought, likewise.
        order: rises with the order in which outcomes came; that of bets.
    """

    game: NDArray[np.int64]
    minute: NDArray[np.int64]
    error: Floats
    persistence_error: Floats
    covered: NDArray[np.bool_]
    alpha: Floats
    width: Floats
    probability: Floats
    home_led: NDArray[np.bool_]
    brier: Floats
    crps: Floats
    stake: Floats
    profit: Floats
    order: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.game)

    def where(self, chosen: NDArray[np.bool_]) -> SettledForecasts:
        """Those of them that a mask chooses."""
        return SettledForecasts(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """A mean over games, and its 95 % interval by Student's t over the games' means.

    Attributes:
        games: how many games it is of.
        lower, upper: None with fewer than two games.
    """

    value: float
    games: int
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often intervals of one alpha held.

    Attributes:
        coverage: the share that held: of a minute's forecasts, then of a game's minutes, then of games.
        lower, upper: its 95 % interval, Wilson's.
        mean_width: of the intervals, in points; mean over games of each game's mean.
    """

    alpha: float
    games: int
    forecasts: int
    coverage: float
    lower: float
    upper: float
    mean_width: float


@dataclass(frozen=True, slots=True)
class MarketRecord:
    """How bets came out that followed the stakes told with markets, game by game, in order of their outcomes.

    The bets of a game are open at the same time and share its fate. So each stakes its share of the bankroll as it was
    before the game, and only their sum is a profit that says something of its own.

    Attributes:
        bets: those with a stake.
        markets: forecasts asked about with a market, with or without a stake.
        staked, profit: sums, as shares of the bankroll.
        roi: profit / staked; None without a stake.
        total_return: by how much a bankroll grows that stakes these shares of itself, one game after the other: end
            over start, less 1; -1 once it has lost all.
        sharpe: mean profit of a game over its standard deviation (Sharpe, The Sharpe ratio, Journal of Portfolio
            Management 21, 1994), a game with bets being the period; None with fewer than two or without any spread.
        max_drawdown: the largest fall of that bankroll from a peak, as a share of the peak.
    """

    bets: int
    markets: int
    staked: float
    profit: float
    roi: float | None
    total_return: float
    sharpe: float | None
    max_drawdown: float


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How forecasts fared; figures are None where there is no forecast to make them of.

    Attributes:
        mae, persistence_mae, mae_difference: mean absolute error, that of persistence on the same games, and the first
            less the second game by game, in points.
        coverage: by alpha, ascending.
        crps: in points, of the forecasts that have one.
        ece: expected calibration error of the probability that the home team leads.
        market: None where no market was given.
    """

    games: int
    forecasts: int
    mae: ScoreEstimate | None
    persistence_mae: ScoreEstimate | None
    mae_difference: ScoreEstimate | None
    coverage: tuple[Coverage, ...]
    crps: ScoreEstimate | None
    brier: ScoreEstimate | None
    ece: float
    market: MarketRecord | None


def scorecard(settled: SettledForecasts) -> Scorecard:
    """The scorecard of settled forecasts."""
    if not len(settled):
        return Scorecard(0, 0, None, None, None, (), None, None, 0.0, None)
    units = _Units.of(settled.game, settled.minute)
    absolute = units.means(np.abs(settled.error))
    persistence = units.means(np.abs(settled.persistence_error))
    return Scorecard(
        games=len(units.minutes),
        forecasts=len(settled),
        mae=_figure(absolute),
        persistence_mae=_figure(persistence),
        mae_difference=_figure(absolute - persistence),
        coverage=tuple(_coverages(settled)),
        crps=_crps(settled),
        brier=_figure(units.means(settled.brier)),
        ece=_calibration_error(settled, units.weights()),
        market=_market(settled),
    )


class LeaderboardMetric(enum.Enum):
    """What model versions are ordered by; of each, less is better."""

    CRPS = "crps"
    MAE = "mae"
    BRIER = "brier"
    MAE_DIFFERENCE = "mae_difference"
    COVERAGE_GAP = "coverage_gap"


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """A model version's place, from 1 on: one more than how many have a lesser value."""

    rank: int
    model_version: str
    value: float
    scorecard: Scorecard


def leaderboard(cards: Mapping[str, Scorecard], metric: LeaderboardMetric, min_games: int) -> list[LeaderboardEntry]:
    """Model versions, best first, equal ones by name; those whose figure is of fewer games are left out.

    Args:
        cards: model version → its scorecard.
        metric: what to order by.
        min_games: the fewest games that the figure may be of.
    """
    figures = {version: figure for version, card in cards.items() if (figure := _metric(card, metric)) is not None}
    listed = sorted((figure.value, version) for version, figure in figures.items() if figure.games >= min_games)
    values = [value for value, _ in listed]
    return [LeaderboardEntry(values.index(value) + 1, version, value, cards[version]) for value, version in listed]


def _metric(card: Scorecard, metric: LeaderboardMetric) -> ScoreEstimate | None:
    if metric is not LeaderboardMetric.COVERAGE_GAP:
        figure: ScoreEstimate | None = getattr(card, metric.value)
        return figure
    for each in card.coverage:
        if each.alpha == LEADERBOARD_ALPHA:
            return ScoreEstimate(abs(each.coverage - (1.0 - each.alpha)), each.games)
    return None


class _Units(NamedTuple):
    """What figures are means of: forecasts make the mean of a minute, minutes that of a game.

    Attributes:
        minute: of each forecast, the place of its game's minute among those there are.
        forecasts: of each of these, how many it has.
        game: of each of these, the place of its game among those there are.
        minutes: of each game, how many it has.
    """

    minute: NDArray[np.intp]
    forecasts: NDArray[np.intp]
    game: NDArray[np.intp]
    minutes: NDArray[np.intp]

    @classmethod
    def of(cls, game: NDArray[np.int64], minute: NDArray[np.int64]) -> Self:
        base = MAX_SLOTS + 1
        found, place, forecasts = np.unique(game * base + minute, return_inverse=True, return_counts=True)
        _, its_game, minutes = np.unique(found // base, return_inverse=True, return_counts=True)
        return cls(place, forecasts, its_game, minutes)

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Each game's mean."""
        of_minutes = np.bincount(self.minute, weights=values) / self.forecasts
        means: Floats = np.bincount(self.game, weights=of_minutes) / self.minutes
        return means

    def weights(self) -> Floats:
        """What each forecast counts for, of its game."""
        weights: Floats = (1.0 / (self.forecasts * self.minutes[self.game]))[self.minute]
        return weights


def _figure(means: Floats) -> ScoreEstimate:
    """The mean of games' means, with Student's interval (Biometrika 6, 1908)."""
    games, value = len(means), float(means.mean())
    if games < 2:
        return ScoreEstimate(value, games)
    half = student_quantile(games - 1) * float(means.std(ddof=1)) / math.sqrt(games)
    return ScoreEstimate(value, games, value - half, value + half)


def _crps(settled: SettledForecasts) -> ScoreEstimate | None:
    scored = ~np.isnan(settled.crps)
    if not scored.any():
        return None
    return _figure(_Units.of(settled.game[scored], settled.minute[scored]).means(settled.crps[scored]))


def _coverages(settled: SettledForecasts) -> Iterator[Coverage]:
    """The coverage of each alpha, ascending."""
    # Callers choose alphas, and may each have their own: all are found in one sorting, in which games keep their order.
    order = np.argsort(settled.alpha, kind="stable")
    alphas, starts = np.unique(settled.alpha[order], return_index=True)
    for alpha, chosen in zip(alphas, np.split(order, starts[1:]), strict=True):
        units = _Units.of(settled.game[chosen], settled.minute[chosen])
        yield _coverage(float(alpha), units, settled.covered[chosen], settled.width[chosen])


def _coverage(alpha: float, units: _Units, covered: NDArray[np.bool_], width: Floats) -> Coverage:
    held = units.means(covered)
    share = min(float(held.mean()), 1.0)  # a mean of ones is not always one
    lower, upper = _wilson(share, _effective_games(held, share, int(units.minutes.sum())))
    return Coverage(alpha, len(held), len(covered), share, lower, upper, float(units.means(width).mean()))


def _effective_games(held: Floats, share: float, minutes: int) -> float:
    """How many independent forecasts would leave a share as uncertain as the spread of the games' shares does.

    Just the games where each has one minute, and where nothing tells how games spread; never more than there are
    minutes of games.
    """
    games = float(len(held))
    if games < 2 or not 0.0 < share < 1.0:
        return games
    # Both variances have the divisor n, so that shares of 0 and 1 alone give just the games.
    spread = float(np.square(held - share).mean())
    return min(games * share * (1.0 - share) / max(spread, 1e-12), float(minutes))


def _wilson(share: float, trials: float) -> tuple[float, float]:
    """Score interval of a share (Wilson, JASA 22, 1927); holds the share, and lies in [0, 1]."""
    centre = share + _Z**2 / (2.0 * trials)
    half = _Z * math.sqrt(share * (1.0 - share) / trials + (_Z / (2.0 * trials)) ** 2)
    scale = 1.0 + _Z**2 / trials
    # At 0 and 1 rounding may leave an end beyond the share.
    return max(min((centre - half) / scale, share), 0.0), min(max((centre + half) / scale, share), 1.0)


def _calibration_error(settled: SettledForecasts, weight: Floats) -> float:
    """`scores.expected_calibration_error` with a weight for each forecast."""
    gaps = weight * (settled.probability - settled.home_led)
    sums = np.bincount(probability_bin(settled.probability), weights=gaps, minlength=ECE_BINS)
    return float(np.abs(sums).sum() / weight.sum())


def _market(settled: SettledForecasts) -> MarketRecord | None:
    given = ~np.isnan(settled.stake)
    if not given.any():
        return None
    placed = np.flatnonzero(settled.stake > 0.0)
    placed = placed[np.argsort(settled.order[placed], kind="stable")]
    staked, profit = float(settled.stake[placed].sum()), float(settled.profit[placed].sum())
    _, first, game = np.unique(settled.game[placed], return_index=True, return_inverse=True)
    profits = np.bincount(game, weights=settled.profit[placed])[np.argsort(first)]
    bankroll = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + profits, 0.0))))
    spread = float(profits.std(ddof=1)) if len(profits) > 1 else 0.0
    # Of equal profits nothing but rounding can be left.
    spreads = len(profits) > 1 and bool((profits != profits[0]).any())
    return MarketRecord(
        bets=len(placed),
        markets=int(given.sum()),
        staked=staked,
        profit=profit,
        roi=profit / staked if len(placed) else None,
        total_return=float(bankroll[-1]) - 1.0,
        sharpe=float(profits.mean()) / spread if spreads and spread > 0.0 else None,
        max_drawdown=float((1.0 - bankroll / np.maximum.accumulate(bankroll)).max()),
    )


_EXACT_DEGREES = 100


@lru_cache(maxsize=256)
def student_quantile(degrees: int) -> float:
    """The 0.975 quantile of Student's t, to ten digits.

    For few degrees of freedom the finite sum for its distribution is inverted, beyond them the expansion of its
    quantile is exact enough (Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3, 26.7.4 and 26.7.5).

    Raises:
        ValueError: unless there is at least one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom; expected at least 1")
    if degrees > _EXACT_DEGREES:
        return _expanded(degrees)
    low, high = 0.0, math.pi / 2.0  # arctan(t / √degrees) rises with t
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _within(middle, degrees) < LEVEL else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """P(|t| ≤ √degrees · tan(angle))."""
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= power / (power + 1) * cosine**2
    return 2.0 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _expanded(degrees: int) -> float:
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / float(degrees) ** power for power, term in enumerate(terms))
