"""How good forecasts are: scores of each game, and what chance does to their means.

A score here is an array with one value a game, lower being better; a figure is its mean over games. Keeping the games
apart is what makes the uncertainty of a figure, and of a difference between two models on the same games, computable.
All are negatively oriented and proper for what they score:

=================  ==================================  ================================================================
`absolute_error`   a point forecast (mean: MAE)        proper for the median
`squared_error`    a point forecast (root mean: RMSE)  proper for the mean
`crps`             a whole predictive distribution     Gneiting & Raftery, JASA 102 (2007), section 4.2
`winkler`          an interval                         Winkler, JASA 67 (1972); Gneiting & Raftery, section 6.2
`brier`            a probability of an event           Brier, Monthly Weather Review 78 (1950)
`log_loss`         a probability of an event           Good, Journal of the Royal Statistical Society B 14 (1952)
=================  ==================================  ================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import DISTRIBUTION_LEVELS


def absolute_error(forecast: ArrayLike, outcome: ArrayLike) -> Floats:
    """|forecast − outcome|, in points, for each game."""
    return np.abs(_floats(forecast) - _floats(outcome))


def squared_error(forecast: ArrayLike, outcome: ArrayLike) -> Floats:
    """(forecast − outcome)², in points squared, for each game."""
    return np.square(_floats(forecast) - _floats(outcome))


def crps(point: ArrayLike, residuals: ArrayLike, outcome: ArrayLike) -> Floats:
    """Continuous ranked probability score, in points, of forecasts that share one sample of residuals.

    A game's predictive distribution is the empirical one of `point + residuals`. Its score is exactly
    E|X − y| − ½ E|X − X′| (Gneiting & Raftery 2007, equation 21), computed from the sorted sample in
    O((m + n) log m) for m residuals and n games.

    Args:
        point: (n,) point forecasts, in points.
        residuals: (m,) outcome − forecast of past games, in points, in any order.
        outcome: (n,) what came.

    Raises:
        ValueError: if there are no residuals.
    """
    sample = np.sort(_floats(residuals))
    size = len(sample)
    if size == 0:
        raise ValueError("a predictive distribution needs at least one residual")
    # E|X − X′| over all pairs: the i-th smallest (from 0) is the larger one of i pairs and the smaller of size − 1 − i.
    half_spread = float(np.dot(2 * np.arange(size) - size + 1, sample)) / size**2
    below_sum = np.concatenate(([0.0], np.cumsum(sample)))
    error = _floats(outcome) - _floats(point)
    below = np.searchsorted(sample, error)
    distance: Floats = (error * (2 * below - size) - 2 * below_sum[below] + below_sum[-1]) / size
    return distance - half_spread


def crps_of_quantiles(quantiles: Sequence[float], outcome: float) -> float:
    """Continuous ranked probability score, in points, of one forecast that is known by its quantiles.

    The score is the integral over all levels of twice the pinball loss (Laio & Tamea, Hydrology and Earth System
    Sciences 11, 2007, equation 6); the levels being midpoints of equal parts, its midpoint rule is their mean.

    Args:
        quantiles: at `types.DISTRIBUTION_LEVELS`, in points.
        outcome: what came.

    Raises:
        ValueError: if there is not one quantile for each level.
    """
    if len(quantiles) != len(DISTRIBUTION_LEVELS):
        raise ValueError(f"{len(quantiles)} quantiles; expected {len(DISTRIBUTION_LEVELS)}")
    total = 0.0
    for level, quantile in zip(DISTRIBUTION_LEVELS, quantiles, strict=True):
        total += (level - (outcome < quantile)) * (outcome - quantile)
    return 2 * total / len(DISTRIBUTION_LEVELS)


def winkler(lower: ArrayLike, upper: ArrayLike, outcome: ArrayLike, alpha: float) -> Floats:
    """Interval score, in points, of intervals with miscoverage rate `alpha`.

    The width, and 2/alpha for each point by which the outcome lies outside (Gneiting & Raftery 2007, equation 43).

    Raises:
        ValueError: if alpha is not in (0, 1), or a lower end lies above its upper end.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; expected a number strictly between 0 and 1")
    low, high, came = _floats(lower), _floats(upper), _floats(outcome)
    if np.any(low > high):
        raise ValueError("an interval's lower end lies above its upper end")
    outside = np.maximum(low - came, 0.0) + np.maximum(came - high, 0.0)
    return (high - low) + (2.0 / alpha) * outside


def covered(lower: ArrayLike, upper: ArrayLike, outcome: ArrayLike) -> NDArray[np.bool_]:
    """Whether each closed interval holds its outcome; the mean is the coverage."""
    came = _floats(outcome)
    return (_floats(lower) <= came) & (came <= _floats(upper))


def brier(probability: ArrayLike, happened: ArrayLike) -> Floats:
    """(probability − 1{happened})² for each game.

    Raises:
        ValueError: if a probability is not in [0, 1].
    """
    stated = _floats(probability)
    if not np.all((stated >= 0.0) & (stated <= 1.0)):
        raise ValueError("a probability lies outside of [0, 1]")
    return np.square(stated - np.asarray(happened, dtype=np.bool_))


def log_loss(probability: ArrayLike, happened: ArrayLike) -> Floats:
    """−log of the probability that was given to what came, in nats, for each game; infinite if that was 0.

    Raises:
        ValueError: if a probability is not in [0, 1].
    """
    stated = _floats(probability)
    if not np.all((stated >= 0.0) & (stated <= 1.0)):
        raise ValueError("a probability lies outside of [0, 1]")
    with np.errstate(divide="ignore"):
        return -np.log(np.where(np.asarray(happened, dtype=np.bool_), stated, 1.0 - stated))


ECE_BINS = 20
"""Of equal width, over [0, 1]: each 5 % wide, closed below; the last one on both sides."""


def probability_bin(probability: ArrayLike) -> NDArray[np.intp]:
    """The bin of `ECE_BINS` that each probability lies in, from 0 on."""
    place: NDArray[np.intp] = np.minimum((_floats(probability) * ECE_BINS).astype(np.intp), ECE_BINS - 1)
    return place


def expected_calibration_error(probability: ArrayLike, happened: ArrayLike) -> float:
    """How far stated probabilities lie from rates, on average over forecasts: in [0, 1].

    In each bin of `probability_bin`, the distance between the mean probability and the rate at which the event came,
    weighted by the forecasts in it (Naeini, Cooper & Hauskrecht, Obtaining well calibrated probabilities using Bayesian
    binning, AAAI 2015). Chance alone keeps it above 0: a bin of n forecasts lies off by about √(p(1 − p)/n).

    Raises:
        ValueError: if there is no forecast.
    """
    stated = _floats(probability)
    if not stated.size:
        raise ValueError("the calibration of no forecast")
    gaps = stated - np.asarray(happened, dtype=np.bool_)
    return float(np.abs(np.bincount(probability_bin(stated).ravel(), weights=gaps.ravel())).sum() / stated.size)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and the interval that chance leaves it."""

    value: float
    lower: float
    upper: float


class GameBootstrap:
    """Percentile bootstrap over games (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    One object holds one set of resamples of n games. Figures computed from it are of the same resampled games, so that
    the figure of a difference between two models is the paired one.

    Args:
        games: how many games there are.
        seed: of the resampling; equal seeds give equal intervals.
        resamples: how many.
        level: of the intervals.

    Raises:
        ValueError: if there is no game.
    """

    def __init__(self, games: int, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> None:
        if games < 1:
            raise ValueError("a bootstrap needs at least one game")
        self._games = games
        self._tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        rng = np.random.default_rng(seed)
        # How often each game is in each resample, in the precision that products are taken in: of 6,000 games, 50 MB.
        self._counts = np.empty((resamples, games), dtype=np.float32)
        for row in self._counts:
            row[:] = np.bincount(rng.integers(games, size=games), minlength=games)

    def resampled_means(self, scores: Floats) -> Floats:
        """The means of scores in each resample.

        Args:
            scores: (n, k), one row a game.

        Returns:
            (resamples, k).

        Raises:
            ValueError: if there are not n rows.
        """
        if len(scores) != self._games:
            raise ValueError(f"scores of {len(scores)} games; expected {self._games}")
        # Around their means, single precision leaves differences of scores as many digits as they need.
        centres = scores.mean(axis=0)
        around = np.matmul(self._counts, (scores - centres).astype(np.float32))
        means: Floats = centres + around.astype(np.float64) / self._games
        return means

    def intervals(self, resampled: Floats) -> Floats:
        """The intervals of figures from their values in the resamples, those that are NaN left out.

        Args:
            resampled: (resamples, k).

        Returns:
            (2, k), lower and upper ends; NaN where all values are.
        """
        ends: Floats = np.full((2, resampled.shape[1]), np.nan)
        gaps = np.isnan(resampled).any(axis=0)
        with np.errstate(invalid="ignore"):  # between infinite values
            ends[:, ~gaps] = np.quantile(resampled[:, ~gaps], self._tails, axis=0)
            for column in np.flatnonzero(gaps):
                values = resampled[~np.isnan(resampled[:, column]), column]
                if len(values):
                    ends[:, column] = np.quantile(values, self._tails)
        return ends

    def estimate(self, figure: Callable[..., Floats], *scores: ArrayLike) -> Estimate:
        """A figure that is made from the means of some scores, for instance the ratio of two of them.

        Args:
            figure: takes an array of means for each of `scores`, and combines them element by element.
            scores: (n,) each, one value a game.
        """
        columns = np.stack([_floats(score) for score in scores], axis=1)
        resampled = self.resampled_means(columns)
        value = figure(*columns.mean(axis=0)[:, None])
        (lower,), (upper,) = self.intervals(figure(*resampled.T)[:, None]).tolist()
        return Estimate(float(value[0]), lower, upper)

    def mean(self, score: ArrayLike) -> Estimate:
        """The mean of a score."""
        return self.estimate(lambda mean: mean, score)

    def root_mean(self, score: ArrayLike) -> Estimate:
        """The root of the mean of a score: RMSE from squared errors."""
        return self.estimate(np.sqrt, score)

    def difference(self, score: ArrayLike, baseline: ArrayLike) -> Estimate:
        """The mean by which a score exceeds that of a baseline on the same games: paired; below 0 is better."""
        return self.estimate(lambda one, other: one - other, score, baseline)

    def ratio(self, score: ArrayLike, baseline: ArrayLike) -> Estimate:
        """The mean of a score over that of a baseline on the same games: below 1 is better.

        Raises:
            ZeroDivisionError: if the baseline's mean is 0 in a resample, as it may be with a handful of games.
        """

        def divide(one: Floats, other: Floats) -> Floats:
            if not other.all():
                raise ZeroDivisionError("the baseline's score is 0")
            return one / other

        return self.estimate(divide, score, baseline)


def binomial_region(trials: int, rate: float, level: float = 0.99) -> tuple[int, int]:
    """The counts of successes that agree with a nominal rate: first and last, both included.

    Exact and central: of `trials` independent events with probability `rate`, fewer than the first happen with
    probability at most (1 − level)/2, and more than the last likewise.

    Raises:
        ValueError: if there are no trials, or the rate is not in (0, 1).
    """
    if trials < 1 or not 0.0 < rate < 1.0:
        raise ValueError(f"no binomial distribution: {trials} trials at rate {rate}")
    counts = np.arange(trials + 1)
    return _central(_binomials(trials, counts * math.log(rate) + (trials - counts) * math.log1p(-rate)), level)


def conformal_region(
    trials: int | Sequence[int], calibration: int | Sequence[int], alpha: float, level: float = 0.99
) -> tuple[int, int]:
    """The counts of held outcomes that agree with a split-conformal interval: first and last, both included.

    As `binomial_region`, but with the calibration's own chance counted: an interval between the k-th smallest and the
    k-th largest of n residuals, k = ⌊(n + 1)·α/2⌋, does not hold at a rate of 1 − α, but at one that is drawn with the
    calibration from Beta(n + 1 − 2k, 2k) (Vovk, Conditional validity of inductive conformal predictors, 2012). The
    count of those that hold is then beta-binomial; that of several tests, each with a calibration of its own, is a sum
    of independent ones.

    Args:
        trials: test games; of each test if there are several.
        calibration: calibration games, n, of each.
        alpha: miscoverage rate of the interval.
        level: probability of the region, where games are exchangeable.

    Raises:
        ValueError: if there are no trials, or too few calibration games for alpha, or alpha is not in (0, 1).
    """
    tests = list(zip(*np.broadcast_arrays(np.atleast_1d(trials), np.atleast_1d(calibration)), strict=True))
    probability = np.ones(1)
    for test in tests:
        probability = np.convolve(probability, _held_counts(int(test[0]), int(test[1]), alpha))
    return _central(probability, level)


def _held_counts(trials: int, calibration: int, alpha: float) -> Floats:
    """The probability of each count of held outcomes, 0 to `trials`: beta-binomial."""
    missed = 2 * math.floor((calibration + 1) * alpha / 2)
    if trials < 1 or not 0.0 < alpha < 1.0 or missed < 2:
        raise ValueError(f"no intervals at alpha {alpha} from {calibration} games, tested on {trials}")
    held = calibration + 1 - missed
    counts = np.arange(trials + 1)
    return _binomials(trials, _log_beta(counts + held, trials - counts + missed) - _log_beta(held, missed))


def _binomials(trials: int, log_probability: Floats) -> Floats:
    """The probability of each count of `trials`, given the log probability of one order in which it comes about."""
    logs = _log_factorials(trials)
    result: Floats = np.exp(logs[trials] - logs - logs[::-1] + log_probability)
    return result


def _central(probability: Floats, level: float) -> tuple[int, int]:
    """The central region of a count, given the probability of each from 0 on."""
    tail = (1.0 - level) / 2.0
    first = int(np.searchsorted(np.cumsum(probability), tail, side="right"))
    # The upper tail is summed from its own end: 1 minus a sum near 1 has no digits left.
    last = len(probability) - 1 - int(np.searchsorted(np.cumsum(probability[::-1]), tail, side="right"))
    return first, last


def _log_factorials(last: int) -> Floats:
    """Logarithms of 0!, 1!, …, last!"""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, last + 1)))))


def _log_beta(a: NDArray[np.integer] | int, b: NDArray[np.integer] | int) -> Floats:
    """The logarithm of B(a, b) of positive whole numbers."""
    logs = _log_factorials(int(np.max(a + b)))
    result: Floats = logs[np.subtract(a, 1)] + logs[np.subtract(b, 1)] - logs[np.add(a, b) - 1]
    return result


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
