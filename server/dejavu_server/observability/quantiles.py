"""Quantiles of a histogram, with bounds of the exact quantiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class QuantileEstimate(NamedTuple):
    """A quantile of observations that are known only as a histogram.

    Attributes:
        value: interpolated in its bucket; the lower bound if the bucket has no upper one.
        lower: the exact quantile is above this; 0 for the first bucket.
        upper: the exact quantile is at most this; infinite in the last bucket.
    """

    value: float
    lower: float
    upper: float


def quantile(bounds: Sequence[float], cumulative: Sequence[float], share: float) -> QuantileEstimate:
    """Return the quantile of observations: the smallest one that at least a share of them do not exceed.

    Args:
        bounds: upper bounds of the buckets, inclusive, rising, the last one infinite.
        cumulative: number of observations at or below each bound.
        share: share of the observations, above 0, at most 1.

    Raises:
        ValueError: if there are no observations.
    """
    observations = cumulative[-1]
    if observations <= 0:
        raise ValueError("a histogram without observations has no quantiles")
    rank = max(1, math.ceil(share * observations - 1e-9))  # the product may exceed a whole number by its rounding
    lower, below = 0.0, 0.0
    for bound, number in zip(bounds, cumulative, strict=True):
        if number >= rank:
            if math.isinf(bound):
                return QuantileEstimate(lower, lower, bound)
            value = lower + (bound - lower) * (rank - below) / (number - below)
            return QuantileEstimate(min(value, bound), lower, bound)  # rounding may carry it beyond the bound
        lower, below = bound, number
    raise ValueError(f"the counts of a histogram must rise; found {list(cumulative)}")
