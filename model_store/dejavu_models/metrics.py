"""Per-game scores of forecasts, and confidence intervals of their means.

A score is an array with one value per game; a metric is its mean over games. Per-game values allow bootstrap intervals
of a metric, and of the paired difference between two models on the same games. All scores are negatively oriented
(lower is better) and proper:

=================  ==================================  ================================================================
`crps`             a whole predictive distribution     Gneiting & Raftery, JASA 102 (2007), section 4.2
`winkler`          an interval                         Winkler, JASA 67 (1972); Gneiting & Raftery, section 6.2
`brier`            a probability of an event           Brier, Monthly Weather Review 78 (1950)
`log_loss`         a probability of an event           Good, Journal of the Royal Statistical Society B 14 (1952)
=================  ==================================  ================================================================
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import DISTRIBUTION_LEVELS

LEVEL: Final = 0.95
"""Confidence level of the intervals of metrics."""

LEVEL_SCORE: Final = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)
"""Standard-normal score at which an interval of LEVEL ends."""


def crps(point: ArrayLike, residuals: ArrayLike, outcome: ArrayLike) -> Floats:
    """Compute the continuous ranked probability score, in points, of forecasts that share one sample of residuals.

    The predictive distribution of a game is the empirical distribution of `point + residuals`. Its score is exactly
    E|X − y| − ½ E|X − X′| (Gneiting & Raftery 2007, equation 21), computed from the sorted sample in
    O((m + n) log m) for m residuals and n games.

    Args:
        point: (n,) point forecasts, in points.
        residuals: (m,) outcome − forecast of past games, in points, in any order.
        outcome: (n,) observed differentials, in points.

    Raises:
        ValueError: if there are no residuals.
    """
    sample = np.sort(_floats(residuals))
    size = len(sample)
    if size == 0:
        raise ValueError("a predictive distribution needs at least one residual")
    # E|X − X′| over all pairs: the i-th smallest (from 0) is the larger in i pairs and the smaller in size − 1 − i.
    half_spread = float(np.dot(2 * np.arange(size) - size + 1, sample)) / size**2
    below_sum = np.concatenate(([0.0], np.cumsum(sample)))
    error = _floats(outcome) - _floats(point)
    below = np.searchsorted(sample, error)
    distance: Floats = (error * (2 * below - size) - 2 * below_sum[below] + below_sum[-1]) / size
    return distance - half_spread


@overload
def crps_of_quantiles(quantiles: Sequence[float], outcome: float) -> float: ...


@overload
def crps_of_quantiles(quantiles: Floats, outcome: Floats) -> Floats: ...


def crps_of_quantiles(quantiles: Sequence[float] | Floats, outcome: float | Floats) -> float | Floats:
    """Compute the continuous ranked probability score, in points, of one or n forecasts given by their quantiles.

    The score is the integral over all levels of twice the pinball loss (Laio & Tamea, Hydrology and Earth System
    Sciences 11, 2007, equation 6). The levels are midpoints of equal bins, so the mean over levels is the midpoint
    rule.

    Args:
        quantiles: at `types.DISTRIBUTION_LEVELS`, in points, ascending: (levels,) or (levels, n).
        outcome: observed differential, in points: a number or (n,).

    Raises:
        ValueError: if there is not exactly one quantile per level.
    """
    if len(quantiles) != len(DISTRIBUTION_LEVELS):
        raise ValueError(f"{len(quantiles)} quantiles; expected {len(DISTRIBUTION_LEVELS)}")
    total: float | Floats = 0.0
    for level, quantile in zip(DISTRIBUTION_LEVELS, quantiles, strict=True):
        total = total + (level - (outcome < quantile)) * (outcome - quantile)
    return 2 * total / len(DISTRIBUTION_LEVELS)


def cramer_distance(quantiles: Iterable[Floats], others: Iterable[Floats]) -> Floats:
    """Return the squared distance ∫ (F − G)², in points, of n pairs of distributions given by their quantiles.

    It is the divergence of the CRPS: the difference of the scores of F and G to expect if G is right (Gneiting &
    Raftery 2007, section 4.2). F and G are linear between their quantiles; beyond the outermost ones, they are equal.

    Args:
        quantiles: of each F, at `types.DISTRIBUTION_LEVELS`, in points, ascending: (n, levels).
        others: of each G, in the same form.
    """
    steps = 1e-9 * np.arange(len(DISTRIBUTION_LEVELS))  # equal quantiles become a steep rise

    def distance(own: Floats, other: Floats) -> float:
        own, other = own + steps, other + steps
        points = np.sort(np.concatenate((own, other)))
        gap = np.interp(points, own, DISTRIBUTION_LEVELS) - np.interp(points, other, DISTRIBUTION_LEVELS)
        left, right = gap[:-1], gap[1:]
        return float(np.dot(np.diff(points), left * left + left * right + right * right)) / 3.0

    return np.array([distance(own, other) for own, other in zip(quantiles, others, strict=True)], dtype=np.float64)


def winkler(lower: ArrayLike, upper: ArrayLike, outcome: ArrayLike, alpha: float) -> Floats:
    """Compute the interval score, in points, of intervals with miscoverage rate `alpha`.

    The score is the width, plus 2/alpha for each point by which the outcome lies outside (Gneiting & Raftery 2007,
    equation 43).

    Raises:
        ValueError: if alpha is not in (0, 1), or a lower end is above its upper end.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; expected a number strictly between 0 and 1")
    low, high, observed = _floats(lower), _floats(upper), _floats(outcome)
    if np.any(low > high):
        raise ValueError("the lower end of an interval is above its upper end")
    outside = np.maximum(low - observed, 0.0) + np.maximum(observed - high, 0.0)
    return (high - low) + (2.0 / alpha) * outside


def leader_probability(lead: ArrayLike) -> Floats:
    """Return the probability of a home lead by the baseline "the team ahead leads": 1, 0, or 1/2 at a lead of 0."""
    return (np.sign(_floats(lead)) + 1.0) / 2.0


def brier(probability: ArrayLike, happened: ArrayLike) -> Floats:
    """Return (probability − 1{happened})² for each game.

    Raises:
        ValueError: if a probability is not in [0, 1].
    """
    return np.square(_probabilities(probability) - np.asarray(happened, dtype=np.bool_))


def log_loss(probability: ArrayLike, happened: ArrayLike) -> Floats:
    """Return −log of the probability given to the observed outcome, in nats, for each game; infinite if that was 0.

    Raises:
        ValueError: if a probability is not in [0, 1].
    """
    stated = _probabilities(probability)
    with np.errstate(divide="ignore"):
        return -np.log(np.where(np.asarray(happened, dtype=np.bool_), stated, 1.0 - stated))


def _probabilities(values: ArrayLike) -> Floats:
    stated = _floats(values)
    if not np.all((stated >= 0.0) & (stated <= 1.0)):
        raise ValueError("a probability is outside [0, 1]")
    return stated


ECE_BINS = 20
"""Number of bins of equal width over [0, 1]: each 5 % wide and closed below; the last is closed on both sides."""


def probability_bin(probability: ArrayLike, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Return the bin of each probability, 0 to bins − 1; by default those of the expected calibration error.

    The error is the mean over the bins, weighted by their number of forecasts, of the absolute difference between the
    mean probability and the observed rate (Naeini, Cooper & Hauskrecht, Obtaining well calibrated probabilities using
    Bayesian binning, AAAI 2015). Sampling noise keeps it above 0: a bin of n forecasts is off by about √(p(1 − p)/n).
    """
    index: NDArray[np.intp] = np.minimum((_floats(probability) * bins).astype(np.intp), bins - 1)
    return index


class Estimate(NamedTuple):
    """A metric with its confidence interval; formatted as "value [lower, upper]"."""

    value: float
    lower: float
    upper: float

    def __format__(self, spec: str) -> str:
        of_zero = spec.replace(".", "z.", 1)  # no minus before a number that is rounded to 0
        value, lower, upper = (format(each, of_zero) for each in self)
        return f"{value} [{lower}, {upper}]"

    @property
    def in_percent(self) -> Estimate:
        """The estimate of a share, in percent."""
        return Estimate(*(100 * each for each in self))


class GameBootstrap:
    """Percentile bootstrap over games (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    One object holds one set of resamples of n games. All metrics computed from it use the same resampled games, so the
    difference between two models is paired.

    Args:
        games: number of games.
        seed: seed of the resampling; equal seeds give equal intervals.
        resamples: number of resamples.
        level: confidence level of the intervals.

    Raises:
        ValueError: if there are no games.
    """

    def __init__(self, games: int, *, seed: int = 0, resamples: int = 2000, level: float = LEVEL) -> None:
        if games < 1:
            raise ValueError("a bootstrap needs at least one game")
        self._games = games
        self._tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        rng = np.random.default_rng(seed)
        # Count of each game in each resample, in the precision of the matrix product: 50 MB for 6,000 games.
        self._counts = np.empty((resamples, games), dtype=np.float32)
        for row in self._counts:
            row[:] = np.bincount(rng.integers(games, size=games), minlength=games)

    def resampled_means(self, scores: Floats) -> Floats:
        """Compute the means of scores in each resample.

        Args:
            scores: (n, k), one row per game.

        Returns:
            (resamples, k).

        Raises:
            ValueError: if there are not n rows.
        """
        if len(scores) != self._games:
            raise ValueError(f"scores of {len(scores)} games; expected {self._games}")
        # Centred, so single precision keeps enough digits of differences between scores.
        centres = scores.mean(axis=0)
        around = np.matmul(self._counts, (scores - centres).astype(np.float32))
        means: Floats = centres + around.astype(np.float64) / self._games
        return means

    def intervals(self, resampled: Floats) -> Floats:
        """Compute percentile intervals of metrics from their resampled values, ignoring NaN.

        Args:
            resampled: (resamples, k).

        Returns:
            (2, k), lower and upper ends; NaN where all values are NaN.
        """
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # interpolation between infinite values
            warnings.simplefilter("ignore", RuntimeWarning)  # all values of a column are NaN
            ends: Floats = np.nanquantile(resampled, self._tails, axis=0)
        return ends

    def estimate(self, figure: Callable[..., Floats], *scores: ArrayLike) -> Estimate:
        """Estimate a metric that is a function of the means of scores, for instance the ratio of two.

        Args:
            figure: takes one array of means per score and combines them element by element.
            scores: (n,) each, one value per game.
        """
        columns = np.stack([_floats(score) for score in scores], axis=1)
        resampled = self.resampled_means(columns)
        value = figure(*columns.mean(axis=0)[:, None])
        (lower,), (upper,) = self.intervals(figure(*resampled.T)[:, None]).tolist()
        return Estimate(float(value[0]), lower, upper)

    def mean(self, score: ArrayLike) -> Estimate:
        """Estimate the mean of a score."""
        return self.estimate(lambda mean: mean, score)

    def ratio(self, score: ArrayLike, baseline: ArrayLike) -> Estimate:
        """Estimate the ratio of the mean of a score to that of a baseline on the same games; below 1 is better.

        Raises:
            ZeroDivisionError: if the baseline's mean is 0 in a resample, which can happen with few games.
        """

        def divide(one: Floats, other: Floats) -> Floats:
            if not other.all():
                raise ZeroDivisionError("the baseline's score is 0")
            return one / other

        return self.estimate(divide, score, baseline)


@lru_cache(maxsize=256)
def student_quantile(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t, to nine digits; without scipy, see docs/decisions/0030-by-hand.md.

    Inverts the finite sum for the distribution function (Abramowitz & Stegun, Handbook of Mathematical Functions,
    26.7.3 and 26.7.4) by bisection.

    Raises:
        ValueError: if there is less than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom; expected at least 1")
    odd = degrees % 2
    powers = np.arange(1.0 + odd, degrees, 2.0)
    factors = np.append(1.0, np.cumprod(powers / (powers + 1.0)))[: len(powers)]

    def within(angle: float) -> float:
        """Return P(|t| ≤ √degrees · tan(angle))."""
        total = math.sin(angle) * float(factors @ math.cos(angle) ** (powers - 1.0))
        return 2.0 / math.pi * (angle + total) if odd else total

    low, high = 0.0, math.pi / 2.0  # arctan(t / √degrees) is increasing in t
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if within(middle) < LEVEL else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
