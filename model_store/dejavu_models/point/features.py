"""From patterns to what the models read: the only definition, for training and for serving.

The Dejavu index compares courses anchored at the last known differential, because what is forecast is the increment
from there: two games that ran alike up to a constant give the same anchored minutes. A pattern of m slots is taken
with the tip-off's 0–0 before it, so that the lead itself stays visible, as the distance that the game has come since
tip-off. The LSTM reads the minutes as they come, so that one run tells what it would have said after each of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats, Singles

STEP_CHANNELS = 5
"""Numbers that the LSTM reads for each minute."""


def anchored(patterns: Floats) -> Floats:
    """Differentials at the start of each minute, less the last known one.

    Args:
        patterns: (n, m), in points.

    Returns:
        (n, m), in points: column j is the differential after j minutes (0 at tip-off) less that after m minutes.
    """
    result = np.empty_like(patterns)
    last = patterns[:, -1:]
    result[:, :1] = -last
    np.subtract(patterns[:, :-1], last, out=result[:, 1:])
    return result


@lru_cache(maxsize=128)
def _recency_weights(minutes: int, recency: float) -> Floats:
    """Weights of the anchored minutes, (minutes,): exp(−age / recency), their squares summing to 1."""
    weights = np.exp(-np.arange(minutes, 0, -1) / recency)
    weights /= np.sqrt(np.square(weights).sum())
    weights.flags.writeable = False  # cached: one caller must not change it for the others
    return weights


def pattern_vectors(patterns: Floats, recency: float) -> Singles:
    """The vectors that the Dejavu index compares by Euclidean distance.

    The weights are folded in and their squares sum to 1, so that a distance is a root mean square difference, in
    points, in which a minute's weight falls by a factor e with every `recency` minutes that it lies back.

    Args:
        patterns: (n, m), in points.
        recency: in minutes, positive.

    Returns:
        (n, m), C-contiguous.
    """
    return np.multiply(
        anchored(patterns), _recency_weights(patterns.shape[1], recency), dtype=np.float32, casting="same_kind"
    )


def minute_steps(patterns: Floats, margins: Floats) -> Singles:
    """The sequence that the LSTM reads, minute by minute.

    Args:
        patterns: (n, m), in points.
        margins: (n,), expected final differentials before the game, in points; NaN where unknown.

    Returns:
        (n, m, 5): the differential after the minute and its change during it, in points; the minute as a share of the
        48; the expected margin, in points, 0 where unknown; and 1 where it is known, else 0.
    """
    steps = np.empty((*patterns.shape, STEP_CHANNELS), dtype=np.float32)
    known = np.isfinite(margins)
    steps[:, :, 0] = patterns
    steps[:, :1, 1] = patterns[:, :1]
    np.subtract(patterns[:, 1:], patterns[:, :-1], out=steps[:, 1:, 1], casting="same_kind")
    steps[:, :, 2] = _MINUTE_SHARES[: patterns.shape[1]]
    steps[:, :, 3] = np.where(known, margins, 0.0)[:, None]
    steps[:, :, 4] = known[:, None]
    return steps


_MINUTE_SHARES = np.arange(1, REGULATION_MINUTES + 1) / REGULATION_MINUTES
