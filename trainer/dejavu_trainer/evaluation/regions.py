"""Counts that agree with a nominal rate: central regions of binomial and conformal (beta-binomial) counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats

_CACHED: Final = 8192
"""Number of cached regions: a result needs the same one for many forecasters and groups."""


@lru_cache(maxsize=_CACHED)
def binomial_region(trials: int, rate: float, level: float = 0.99) -> tuple[int, int]:
    """Return the counts of successes that agree with a nominal rate: first and last, both included.

    Exact and central: of `trials` independent events with probability `rate`, fewer than the first happen with
    probability at most (1 − level)/2, and more than the last with probability at most (1 − level)/2.

    Raises:
        ValueError: if there are no trials, or the rate is not in (0, 1).
    """
    if trials < 1 or not 0.0 < rate < 1.0:
        raise ValueError(f"no binomial distribution: {trials} trials at rate {rate}")
    from scipy import stats  # imported late: it takes a second

    return _central(stats.binom.pmf(np.arange(trials + 1), trials, rate), level)


def conformal_region(
    trials: int | Sequence[int], calibration: int | Sequence[int], alpha: float, level: float = 0.99
) -> tuple[int, int]:
    """Return the counts of covered outcomes that agree with a split-conformal interval: first and last, both included.

    Like `binomial_region`, but includes the randomness of the calibration sample: the coverage of an interval between
    the k-th smallest and the k-th largest of n residuals, k = ⌊(n + 1)·α/2⌋, is not 1 − α but a draw from
    Beta(n + 1 − 2k, 2k) (Vovk, Conditional validity of inductive conformal predictors, 2012). The count of covered
    outcomes is therefore beta-binomial; for several tests, each with its own calibration, it is a sum of independent
    beta-binomials.

    Args:
        trials: number of test games, of each test if there are several.
        calibration: number of calibration games, n, of each test.
        alpha: miscoverage rate of the interval.
        level: probability of the region for exchangeable games.

    Raises:
        ValueError: if there are no trials, or too few calibration games for alpha, or alpha is not in (0, 1).
    """
    pairs = np.broadcast(trials, calibration)
    return _conformal_region(tuple((int(count), int(games)) for count, games in pairs), alpha, level)


@lru_cache(maxsize=_CACHED)
def _conformal_region(tests: tuple[tuple[int, int], ...], alpha: float, level: float) -> tuple[int, int]:
    from scipy import stats  # imported late: it takes a second

    probability = np.ones(1)
    for count, games in tests:
        missed = 2 * math.floor((games + 1) * alpha / 2)
        if count < 1 or not 0.0 < alpha < 1.0 or missed < 2:
            raise ValueError(f"no intervals at alpha {alpha} from {games} games, tested on {count}")
        covered = stats.betabinom.pmf(np.arange(count + 1), count, games + 1 - missed, missed)
        probability = np.convolve(probability, covered)
    return _central(probability, level)


def detected_rates(trials: int, first: int, last: int, power: float = 0.8) -> tuple[float, float]:
    """Return the true rates at and beyond which a count lies outside a region with some probability.

    Args:
        trials: number of events.
        first: smallest count of the region.
        last: largest count of the region.
        power: probability of a count outside it.

    Returns:
        The largest rate at which a count below `first` has this probability, and the smallest rate at which a count
        above `last` has it; NaN where there is no count beyond the region.

    Raises:
        ValueError: if the region does not lie in 0 to `trials`, or the power is not in (0, 1).
    """
    if not 0 <= first <= last <= trials or not 0.0 < power < 1.0:
        raise ValueError(f"no region of {trials} trials: {first} to {last}, power {power}")
    from scipy import stats  # imported late: it takes a second

    # Binomial tails as beta quantiles (Clopper & Pearson 1934).
    below = float(stats.beta.ppf(1 - power, first, trials - first + 1)) if first > 0 else math.nan
    above = float(stats.beta.ppf(power, last + 1, trials - last)) if last < trials else math.nan
    return below, above


def _central(probability: Floats, level: float) -> tuple[int, int]:
    """Return the central region of a count, given the probabilities of 0, 1, 2, …."""
    tail = (1.0 - level) / 2.0
    first = int(np.searchsorted(np.cumsum(probability), tail, side="right"))
    # Sum the upper tail from its own end: 1 minus a sum near 1 loses all digits.
    last = len(probability) - 1 - int(np.searchsorted(np.cumsum(probability[::-1]), tail, side="right"))
    return first, last
