"""Scorecards of settled forecasts, and leaderboards of model versions by a metric.

The game is the unit of analysis, because the forecasts of one game are correlated. A metric is the mean over games of
each game's mean, and its interval comes from the variance of the game means. Within a game each minute has the same
weight, regardless of its number of forecasts: requesting a minute with ten alphas or margins does not add weight.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, LEVEL_SCORE, probability_bin, ratio_interval, student_quantile
from dejavu_models.types import MAX_SLOTS

LEADERBOARD_ALPHA = 0.05
"""Miscoverage rate of the intervals that the COVERAGE_GAP leaderboard compares."""


class Exclusion(enum.IntEnum):
    """Why a settled forecast does not count; its bet still does."""

    NONE = 0
    SUPERSEDED = 1
    """A later revision counts."""
    LATER_MINUTE = 2
    """It was recorded when forecasts from later in the game were known."""
    LATE_TIME = 3
    """It was recorded long after the newest minute of its game."""


@dataclass(frozen=True, slots=True, eq=False)
class SettledForecasts:
    """Forecasts with their outcomes, as columns: arrays of equal length, one value per forecast.

    Attributes:
        game: integer id of the game; equal exactly for forecasts of one game.
        minute: elapsed minutes at the forecast, 1 to 47.
        error: point forecast − differential, in points.
        persistence_error: last known differential − differential, in points.
        covered: whether the outcome lay in the interval.
        alpha: miscoverage rate of the interval.
        width: width of the interval, in points.
        probability: forecast probability that the home team leads at the horizon.
        home_led: whether the home team led.
        brier: (probability − home_led)².
        crps: in points; NaN if not available.
        stake: stake on the requested market, as a share of the bankroll; 0 for no bet, NaN without a market.
        profit: profit of that stake, as a share of the bankroll; NaN without a market.
        expected_profit: expected profit of that stake as recorded, as a share of the bankroll; NaN without a market.
        order: ascending in the order of outcomes; orders the bets.
        exclusion: an Exclusion; only forecasts with NONE count, while bets count on all.
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
    expected_profit: Floats
    order: NDArray[np.int64]
    exclusion: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.game)

    def where(self, chosen: NDArray[np.bool_]) -> SettledForecasts:
        """Selects forecasts by a mask."""
        return SettledForecasts(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """Mean over games, with its 95 % Student's t interval over the game means.

    Attributes:
        games: number of games.
        lower, upper: None with fewer than two games.
    """

    value: float
    games: int
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of the intervals of one alpha.

    Attributes:
        coverage: share of intervals that contain the outcome, averaged over the forecasts of a minute, then over the
            minutes of a game, then over games.
        lower, upper: its 95 % Wilson interval.
        mean_width: mean over games of each game's mean interval width, in points.
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
    """Track record of the recommended stakes, game by game in the order of outcomes.

    The bets of a game are open at the same time and correlated. Each stakes its share of the bankroll before the game,
    and their sum is the profit of the game.

    Attributes:
        bets: number of forecasts with a stake.
        markets: number of forecasts requested with a market, with or without a stake.
        staked, profit: sums, as shares of the bankroll.
        roi: profit / staked; None without a stake.
        total_return: final / initial − 1 of a bankroll that compounds these shares game by game; -1 once everything is
            lost.
        sharpe: mean profit per game over its standard deviation (Sharpe, The Sharpe ratio, Journal of Portfolio
            Management 21, 1994); the period is a game with bets. None with fewer than two games or equal profits.
        max_drawdown: largest fall of that bankroll from a peak, as a share of the peak.
        roi_lower, roi_upper: 95 % interval of roi over games; None with fewer than two games with bets, or if all
            returned the same share of their stakes.
        expected_profit: sum of the expected profits as recorded, as a share of the bankroll.
        won, lost, pushed: numbers of bets.
        games: number of games with bets.
    """

    bets: int
    markets: int
    staked: float
    profit: float
    roi: float | None
    total_return: float
    sharpe: float | None
    max_drawdown: float
    roi_lower: float | None
    roi_upper: float | None
    expected_profit: float
    won: int
    lost: int
    pushed: int
    games: int


class LeftOut(NamedTuple):
    """Numbers of settled forecasts that do not count, by Exclusion."""

    superseded: int = 0
    later_minute: int = 0
    late_time: int = 0


NOTHING_LEFT_OUT: Final = LeftOut()


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Metrics of settled forecasts; a metric is None if no forecast provides it.

    Attributes:
        mae, persistence_mae, mae_difference: mean absolute error, that of persistence on the same games, and the paired
            difference of the two, in points.
        coverage: by alpha, ascending.
        crps: in points, over the forecasts that have one.
        ece: expected calibration error of the probability that the home team leads; 0 without forecasts.
        market: None if no forecast had a market.
        left_out: how many settled forecasts do not count, and why.
    """

    games: int = 0
    forecasts: int = 0
    mae: ScoreEstimate | None = None
    persistence_mae: ScoreEstimate | None = None
    mae_difference: ScoreEstimate | None = None
    coverage: tuple[Coverage, ...] = ()
    crps: ScoreEstimate | None = None
    brier: ScoreEstimate | None = None
    ece: float = 0.0
    market: MarketRecord | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT


def scorecard(settled: SettledForecasts) -> Scorecard:
    """Computes the scorecard of settled forecasts."""
    left_out = LeftOut(*np.bincount(settled.exclusion, minlength=len(Exclusion)).tolist()[1:])
    market = _market(settled)
    if any(left_out):
        settled = settled.where(settled.exclusion == Exclusion.NONE)
    if not len(settled):
        return Scorecard(market=market, left_out=left_out)
    units = _Units.of(settled.game, settled.minute)
    absolute = units.means(np.abs(settled.error))
    persistence = units.means(np.abs(settled.persistence_error))
    return Scorecard(
        games=len(units.minutes),
        forecasts=len(settled),
        mae=_estimate(absolute),
        persistence_mae=_estimate(persistence),
        mae_difference=_estimate(absolute - persistence),
        coverage=tuple(_coverages(settled)),
        crps=_crps(settled),
        brier=_estimate(units.means(settled.brier)),
        ece=_calibration_error(settled, units.weights()),
        market=market,
        left_out=left_out,
    )


class LeaderboardMetric(enum.Enum):
    """Metric that a leaderboard is sorted by; lower is better for each."""

    CRPS = "crps"
    MAE = "mae"
    BRIER = "brier"
    MAE_DIFFERENCE = "mae_difference"
    COVERAGE_GAP = "coverage_gap"


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """One model version on a leaderboard. Ranks start at 1; equal values share a rank (1, 1, 3)."""

    rank: int
    model_version: str
    value: float
    scorecard: Scorecard


def leaderboard(cards: Mapping[str, Scorecard], metric: LeaderboardMetric, min_games: int) -> list[LeaderboardEntry]:
    """Ranks model versions, best first, ties by name; omits versions whose metric is missing or has too few games.

    Args:
        cards: model version → its scorecard.
        metric: metric to sort by.
        min_games: minimum number of games of the metric.
    """
    estimates = {version: value for version, card in cards.items() if (value := _metric(card, metric)) is not None}
    ranked = sorted((estimate.value, version) for version, estimate in estimates.items() if estimate.games >= min_games)
    values = [value for value, _ in ranked]
    return [LeaderboardEntry(values.index(value) + 1, version, value, cards[version]) for value, version in ranked]


def _metric(card: Scorecard, metric: LeaderboardMetric) -> ScoreEstimate | None:
    if metric is not LeaderboardMetric.COVERAGE_GAP:
        estimate: ScoreEstimate | None = getattr(card, metric.value)
        return estimate
    for each in card.coverage:
        if each.alpha == LEADERBOARD_ALPHA:
            return ScoreEstimate(abs(each.coverage - (1.0 - each.alpha)), each.games)
    return None


class _Units(NamedTuple):
    """Grouping of forecasts by minute and game, for nested means: forecast → minute of a game → game.

    Attributes:
        minute: for each forecast, the index of its group (minute of a game).
        forecasts: for each group, its number of forecasts.
        game: for each group, the index of its game.
        minutes: for each game, its number of groups.
    """

    minute: NDArray[np.intp]
    forecasts: NDArray[np.intp]
    game: NDArray[np.intp]
    minutes: NDArray[np.intp]

    @classmethod
    def of(cls, game: NDArray[np.int64], minute: NDArray[np.int64]) -> Self:
        base = MAX_SLOTS + 1
        groups, group_of, forecasts = np.unique(game * base + minute, return_inverse=True, return_counts=True)
        _, game_of, minutes = np.unique(groups // base, return_inverse=True, return_counts=True)
        return cls(group_of, forecasts, game_of, minutes)

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Returns the mean of each game."""
        of_minutes = np.bincount(self.minute, weights=values) / self.forecasts
        means: Floats = np.bincount(self.game, weights=of_minutes) / self.minutes
        return means

    def weights(self) -> Floats:
        """Returns the weight of each forecast within its game."""
        weights: Floats = (1.0 / (self.forecasts * self.minutes[self.game]))[self.minute]
        return weights


def _estimate(means: Floats) -> ScoreEstimate:
    """Returns the mean of the game means, with Student's interval (Biometrika 6, 1908)."""
    games, value = len(means), float(means.mean())
    if games < 2:
        return ScoreEstimate(value, games)
    half = student_quantile(games - 1) * float(means.std(ddof=1)) / math.sqrt(games)
    return ScoreEstimate(value, games, value - half, value + half)


def _crps(settled: SettledForecasts) -> ScoreEstimate | None:
    scored = ~np.isnan(settled.crps)
    if not scored.any():
        return None
    return _estimate(_Units.of(settled.game[scored], settled.minute[scored]).means(settled.crps[scored]))


def _coverages(settled: SettledForecasts) -> Iterator[Coverage]:
    """Yields the coverage of each alpha, ascending."""
    # Every forecast may have its own alpha: one stable sort groups them all and keeps the order of games.
    order = np.argsort(settled.alpha, kind="stable")
    alphas, starts = np.unique(settled.alpha[order], return_index=True)
    for alpha, chosen in zip(alphas, np.split(order, starts[1:]), strict=True):
        units = _Units.of(settled.game[chosen], settled.minute[chosen])
        shares, widths = units.means(settled.covered[chosen]), units.means(settled.width[chosen])
        share = min(float(shares.mean()), 1.0)  # the mean of ones can exceed 1 by rounding
        lower, upper = _wilson(share, _effective_games(shares, share, int(units.minutes.sum())))
        yield Coverage(float(alpha), len(shares), len(chosen), share, lower, upper, float(widths.mean()))


def _effective_games(shares: Floats, share: float, minutes: int) -> float:
    """Returns the effective sample size of a share: independent trials with the same variance as the game shares.

    Equals the number of games if each game has one minute, or if the variance cannot be estimated; at most `minutes`.
    """
    games = float(len(shares))
    if games < 2 or not 0.0 < share < 1.0:
        return games
    # Both variances have the divisor n, so game shares of only 0 and 1 give exactly the number of games.
    spread = float(np.square(shares - share).mean())
    return min(games * share * (1.0 - share) / max(spread, 1e-12), float(minutes))


def _wilson(share: float, trials: float) -> tuple[float, float]:
    """Returns the score interval of a share (Wilson, JASA 22, 1927); contains the share and lies in [0, 1]."""
    centre = share + LEVEL_SCORE**2 / (2.0 * trials)
    half = LEVEL_SCORE * math.sqrt(share * (1.0 - share) / trials + (LEVEL_SCORE / (2.0 * trials)) ** 2)
    scale = 1.0 + LEVEL_SCORE**2 / trials
    # At shares of 0 and 1, rounding can move an end past the share.
    return max(min((centre - half) / scale, share), 0.0), min(max((centre + half) / scale, share), 1.0)


def _calibration_error(settled: SettledForecasts, weight: Floats) -> float:
    """Computes the expected calibration error (see `metrics.probability_bin`) with a weight for each forecast."""
    gaps = weight * (settled.probability - settled.home_led)
    sums = np.bincount(probability_bin(settled.probability), weights=gaps, minlength=ECE_BINS)
    return float(np.abs(sums).sum() / weight.sum())


def _market(settled: SettledForecasts) -> MarketRecord | None:
    given = ~np.isnan(settled.stake)
    if not given.any():
        return None
    placed = np.flatnonzero(settled.stake > 0.0)
    placed = placed[np.argsort(settled.order[placed], kind="stable")]
    staked, earned = settled.stake[placed], settled.profit[placed]
    _, first, game = np.unique(settled.game[placed], return_index=True, return_inverse=True)
    in_order = np.argsort(first)
    stakes, profits = (np.bincount(game, weights=each).astype(np.float64)[in_order] for each in (staked, earned))
    roi = float(earned.sum()) / float(staked.sum()) if len(placed) else None
    roi_lower, roi_upper = ratio_interval(profits, stakes)
    bankroll = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + profits, 0.0))))
    spread = float(profits.std(ddof=1)) if len(profits) > 1 else 0.0
    # The standard deviation of equal profits can be nonzero by rounding.
    varies = len(profits) > 1 and bool((profits != profits[0]).any())
    return MarketRecord(
        bets=len(placed),
        markets=int(given.sum()),
        staked=float(staked.sum()),
        profit=float(earned.sum()),
        roi=roi,
        total_return=float(bankroll[-1]) - 1.0,
        sharpe=float(profits.mean()) / spread if varies and spread > 0.0 else None,
        max_drawdown=float((1.0 - bankroll / np.maximum.accumulate(bankroll)).max()),
        roi_lower=roi_lower,
        roi_upper=roi_upper,
        expected_profit=float(settled.expected_profit[placed].sum()),
        won=int((earned > 0.0).sum()),
        lost=int((earned < 0.0).sum()),
        pushed=int((earned == 0.0).sum()),
        games=len(profits),
    )
