"""Means over games with intervals, and reliability; each game has equal weight, however many forecasts it has.

Reliability is the observed rate of home leads against the forecast probability. In it, a forecast has the weight 1 /
(minutes of its game with forecasts) / (forecasts of its minute), as in the expected calibration error: each game has
equal weight over all bins together, not in each bin that it visits. Otherwise calibrated forecasts would look
overconfident: of the games that are ever forecast at 90 %, the lost ones stay there only briefly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, LEVEL_SCORE, probability_bin, student_quantile
from dejavu_models.scorecard.settled import SettledForecasts


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """Mean over games, with its 95 % Student's t interval over the game means, cut off at possible values.

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


class Units(NamedTuple):
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
        """Group n forecasts by their game and minute."""
        base = int(minute.max(initial=0)) + 1
        groups, group_of, forecasts = np.unique(game * base + minute, return_inverse=True, return_counts=True)
        _, game_of, minutes = np.unique(groups // base, return_inverse=True, return_counts=True)
        return cls(group_of, forecasts, game_of, minutes)

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Return the mean of each game."""
        of_minutes = np.bincount(self.minute, weights=values) / self.forecasts
        means: Floats = np.bincount(self.game, weights=of_minutes) / self.minutes
        return means

    def weights(self) -> Floats:
        """Return the weight of each forecast within its game."""
        weights: Floats = (1.0 / (self.forecasts * self.minutes[self.game]))[self.minute]
        return weights


def estimate(means: Floats, least: float = -math.inf, most: float = math.inf) -> ScoreEstimate:
    """Return the mean of the game means, with Student's interval (Biometrika 6, 1908) within its possible values.

    With few games, Student's interval may reach beyond the bounds of a figure. Cutting it off there removes only
    impossible values, so it contains the true mean as often as before.

    Args:
        means: (games,), each within the bounds.
        least: lower bound of the figure, such as 0 for an error.
        most: upper bound, such as 1 for a Brier score.
    """
    games, value = len(means), float(means.mean())
    if games < 2:
        return ScoreEstimate(value, games)
    half = student_quantile(games - 1) * float(means.std(ddof=1)) / math.sqrt(games)
    return ScoreEstimate(value, games, min(max(value - half, least), value), max(min(value + half, most), value))


_ROUNDING: Final = 1e-9
"""Residuals of games that differ by less than this are equal except for rounding."""


def ratio_estimate(numerators: Floats, denominators: Floats) -> ScoreEstimate:
    """Return Σ numerators / Σ denominators, a ratio of −1 or more such as a return, with its 95 % interval.

    The interval is Student's t of its linearization: the variance of the ratio is that of the residuals, numerator −
    ratio · denominator (Cochran, Sampling Techniques, 1977, chapter 6). Without a spread of the residuals there is no
    interval: three bets won at the same odds are no proof of a profit.

    Args:
        numerators: (games,), such as profits.
        denominators: (games,), 0 or above and not all 0, such as stakes.
    """
    games, total = len(numerators), float(denominators.sum())
    value = float(numerators.sum()) / total
    residuals = numerators - value * denominators
    if games < 2 or float(np.ptp(residuals)) <= _ROUNDING:
        return ScoreEstimate(value, games)
    half = student_quantile(games - 1) * math.sqrt(games) * float(residuals.std(ddof=1)) / total
    return ScoreEstimate(value, games, max(value - half, -1.0), value + half)


def roc_auc(scores: Floats, settled: SettledForecasts, units: Units) -> ScoreEstimate | None:
    """Return the area under the ROC curve of scores for the event that the home team leads, with its interval.

    It is the probability that a forecast of a game that the home team led has a higher score than one of a game that it
    did not lead; ties count half, and games have equal weight. The interval is that of DeLong, DeLong & Clarke-Pearson
    (Biometrics 44, 1988), from the share of the other group below each forecast, averaged within games, which are the
    independent units (Obuchowski, Biometrics 53, 1997).

    Args:
        scores: (n,), one per forecast.
        settled: n settled forecasts.
        units: their grouping.

    Returns:
        The area; None if one of the groups has no game. Without an interval if one has fewer than two, or all shares of
        a group are equal in both groups.
    """
    led, weights = settled.home_led, units.weights()
    won = units.means(led) > 0.5  # a game has one outcome
    if won.all() or not won.any():
        return None
    values, place = np.unique(scores, return_inverse=True)
    of_led, of_others = (np.bincount(place, weights * group, len(values)) for group in (led, ~led))
    below, above = (np.cumsum(each) - each / 2.0 for each in (of_others, of_led[::-1]))
    shares = units.means(np.where(led, below[place] / of_others.sum(), above[::-1][place] / of_led.sum()))
    groups = shares[won], shares[~won]
    value, games = min(float(groups[0].mean()), 1.0), len(shares)
    if min(map(len, groups)) < 2 or all(float(np.ptp(each)) <= _ROUNDING for each in groups):
        return ScoreEstimate(value, games)
    half = LEVEL_SCORE * math.sqrt(sum(float(each.var(ddof=1)) / len(each) for each in groups))
    return ScoreEstimate(value, games, max(value - half, 0.0), min(value + half, 1.0))


USUAL_ALPHA: Final = 0.05
"""Miscoverage rate of the intervals that are shown and compared."""

MAX_ALPHAS: Final = 20
"""Maximum number of alphas whose coverage a scorecard has: every forecast may have its own alpha."""


def coverages(
    alpha: Floats, game: NDArray[np.int64], minute: NDArray[np.int64], covered: NDArray[np.bool_], width: Floats
) -> Iterator[Coverage]:
    """Yield the coverage of each alpha, ascending; if there are many, of USUAL_ALPHA and those with the most games.

    Args:
        alpha: (n,), miscoverage rate of each interval.
        game: (n,), as in `SettledForecasts`.
        minute: (n,), likewise.
        covered: (n,), whether the outcome lay in the interval.
        width: (n,), width of the interval, in points.
    """
    # Every forecast may have its own alpha: one stable sort groups them all and keeps the order of games.
    order = np.argsort(alpha, kind="stable")
    alphas, starts = np.unique(alpha[order], return_index=True)
    parts = np.split(order, starts[1:])
    if len(parts) > MAX_ALPHAS:
        games = [len(np.unique(game[chosen])) for chosen in parts]
        others = alphas != USUAL_ALPHA  # USUAL_ALPHA stays, whatever other alphas callers request
        most = np.sort(np.lexsort((alphas, -np.array(list(map(len, parts))), -np.array(games), others))[:MAX_ALPHAS])
        alphas, parts = alphas[most], [parts[index] for index in most.tolist()]
    for value, chosen in zip(alphas.tolist(), parts, strict=True):
        units = Units.of(game[chosen], minute[chosen])
        shares, widths = units.means(covered[chosen]), units.means(width[chosen])
        share = min(float(shares.mean()), 1.0)  # the mean of ones can exceed 1 by rounding
        lower, upper = wilson(share, _effective_games(shares, share, int(units.minutes.sum())))
        yield Coverage(value, len(shares), len(chosen), share, lower, upper, float(widths.mean()))


def _effective_games(shares: Floats, share: float, minutes: int) -> float:
    """Return the effective sample size of a share: independent trials with the same variance as the game shares.

    Equals the number of games if each game has one minute, or if the variance cannot be estimated; at most `minutes`.
    """
    games = float(len(shares))
    if games < 2 or not 0.0 < share < 1.0:
        return games
    # Both variances have the divisor n, so game shares of only 0 and 1 give exactly the number of games.
    spread = float(np.square(shares - share).mean())
    return min(games * share * (1.0 - share) / max(spread, 1e-12), float(minutes))


def wilson(share: float, trials: float) -> tuple[float, float]:
    """Return the score interval of a share (Wilson, JASA 22, 1927); contains the share and lies in [0, 1]."""
    centre = share + LEVEL_SCORE**2 / (2.0 * trials)
    half = LEVEL_SCORE * math.sqrt(share * (1.0 - share) / trials + (LEVEL_SCORE / (2.0 * trials)) ** 2)
    scale = 1.0 + LEVEL_SCORE**2 / trials
    # At shares of 0 and 1, rounding can move an end past the share.
    return max(min((centre - half) / scale, share), 0.0), min(max((centre + half) / scale, share), 1.0)


RELIABILITY_BINS: Final = 10
"""Number of bins of equal width over [0, 1], each closed below; the last is closed on both sides."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The forecasts of a range of probabilities, and the observed rate of home leads after them.

    Attributes:
        from_probability, to_probability: the range.
        games: number of games with forecasts in it.
        forecasts: number of forecasts in it.
        mean_probability: weighted mean of their probabilities.
        rate: weighted share of them after which the home team led.
        lower, upper: 95 % Wilson interval of the rate, at the effective number of games.
    """

    from_probability: float
    to_probability: float
    games: int
    forecasts: int
    mean_probability: float
    rate: float
    lower: float
    upper: float


def reliability(settled: SettledForecasts, weight: Floats) -> tuple[ReliabilityBin, ...]:
    """Compute the bins of settled forecasts, ascending; empty bins are left out.

    Args:
        settled: n settled forecasts.
        weight: (n,), weight of each forecast, above 0.
    """
    bin_of = probability_bin(settled.probability, RELIABILITY_BINS)
    found = []
    for index in np.unique(bin_of).tolist():
        chosen = bin_of == index
        weights, led = weight[chosen], settled.home_led[chosen]
        total = float(weights.sum())
        rate = min(float(weights[led].sum()) / total, 1.0)
        _, game = np.unique(settled.game[chosen], return_inverse=True)
        of_games = np.bincount(game, weights=weights)
        # A game has one outcome, so its forecasts are one trial. Games differ in weight: Kish's effective sample size.
        lower, upper = wilson(rate, max(1.0, total**2 / float(np.square(of_games).sum())))
        found.append(
            ReliabilityBin(
                from_probability=index / RELIABILITY_BINS,
                to_probability=(index + 1) / RELIABILITY_BINS,
                games=len(of_games),
                forecasts=int(chosen.sum()),
                mean_probability=float((weights * settled.probability[chosen]).sum()) / total,
                rate=rate,
                lower=lower,
                upper=upper,
            )
        )
    return tuple(found)


def calibration_error(settled: SettledForecasts, weight: Floats) -> float:
    """Compute the expected calibration error (see `metrics.probability_bin`) with a weight for each forecast."""
    gaps = weight * (settled.probability - settled.home_led)
    sums = np.bincount(probability_bin(settled.probability), weights=gaps, minlength=ECE_BINS)
    return float(np.abs(sums).sum() / weight.sum())
