"""From patterns to what the models read: the only definition, for training and for serving.

Every input is anchored at the last known differential, because the models forecast the increment from there: two
games that ran alike up to a constant give the same anchored minutes. A pattern of m slots is taken with the tip-off's
0–0 before it, so that the lead itself stays visible, as the distance that the game has come since tip-off.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dejavu_models.arrays import Floats, Singles

STEP_CHANNELS = 2
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


def course_vectors(patterns: Floats, recency: float) -> Singles:
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


def minute_steps(patterns: Floats) -> Singles:
    """The sequence that the LSTM reads, minute by minute.

    Args:
        patterns: (n, m), in points.

    Returns:
        (n, m, 2), in points: the anchored differential at the minute's start, and the change during the minute.
    """
    steps = np.empty((*patterns.shape, STEP_CHANNELS), dtype=np.float32)
    start = anchored(patterns)
    steps[:, :, 0] = start
    np.subtract(start[:, 1:], start[:, :-1], out=steps[:, :-1, 1], casting="same_kind")
    steps[:, -1, 1] = -start[:, -1]
    return steps
