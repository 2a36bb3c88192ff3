"""Model features computed from patterns, shared by training and serving.

The Dejavu index compares patterns anchored at the last known differential, because the target is the increment from
there: two games that differ by a constant have the same anchored minutes. The tip-off (0–0) is prepended to a pattern
of m slots, so the lead itself stays in the features, as the change since tip-off. The LSTM reads the minutes in order,
so one run gives its output after each of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats, Singles

STEP_CHANNELS = 5
"""Number of LSTM input features per minute."""


def anchored(patterns: Floats) -> Floats:
    """Return the differentials at the start of each minute, minus the last known differential.

    Args:
        patterns: (n, m), in points.

    Returns:
        (n, m), in points: column j is the differential after j minutes (0 at tip-off) minus that after m minutes.
    """
    result = np.empty_like(patterns)
    last = patterns[:, -1:]
    result[:, :1] = -last
    np.subtract(patterns[:, :-1], last, out=result[:, 1:])
    return result


@lru_cache(maxsize=128)
def recency_weights(minutes: int, recency: float) -> Floats:
    """Return the weights of the anchored minutes, (minutes,): exp(−age / recency), normalised to unit norm."""
    weights = np.exp(-np.arange(minutes, 0, -1) / recency)
    weights /= np.sqrt(np.square(weights).sum())
    weights.flags.writeable = False  # cached and shared between callers
    return weights


def pattern_vectors(patterns: Floats, recency: float) -> Singles:
    """Return the vectors that the Dejavu index compares by Euclidean distance.

    The vectors include the recency weights, whose squares sum to 1. A distance is therefore a weighted root mean square
    difference, in points; the weight of a minute falls by a factor e per `recency` minutes of age.

    Args:
        patterns: (n, m), in points.
        recency: in minutes, positive.

    Returns:
        (n, m), C-contiguous.
    """
    return np.multiply(
        anchored(patterns), recency_weights(patterns.shape[1], recency), dtype=np.float32, casting="same_kind"
    )


def minute_steps(patterns: Floats, margins: Floats) -> Singles:
    """Build the LSTM input, minute by minute.

    Args:
        patterns: (n, m), in points.
        margins: (n,), expected final differentials before the game, in points; NaN if unknown.

    Returns:
        (n, m, 5): differential after the minute and its change during it, in points; minute / 48; expected margin, in
        points, 0 if unknown; 1 if the margin is known, else 0.
    """
    steps = np.empty((*patterns.shape, STEP_CHANNELS), dtype=np.float32)
    known = np.isfinite(margins)
    _put_patterns(steps, patterns)
    steps[:, :, 2] = _MINUTE_SHARES[: patterns.shape[1]]
    steps[:, :, _MARGIN] = np.where(known, margins, 0.0)[:, None]
    steps[:, :, 4] = known[:, None]
    return steps


def _put_patterns(steps: Singles, patterns: Floats) -> None:
    steps[:, :, 0] = patterns
    steps[:, :1, 1] = patterns[:, :1]
    np.subtract(patterns[:, 1:], patterns[:, :-1], out=steps[:, 1:, 1], casting="same_kind")


_MARGIN = 3
"""Channel of the expected margin."""

_MINUTE_SHARES = np.arange(1, REGULATION_MINUTES + 1) / REGULATION_MINUTES
