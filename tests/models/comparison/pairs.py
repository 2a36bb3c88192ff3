"""Paired forecasts for tests of comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dejavu_models.comparison import PairedForecasts


def pairs(
    crps: ArrayLike, brier: ArrayLike = 0.0, *, covered: ArrayLike = 0.95, alpha: float = 0.05
) -> PairedForecasts:
    """Builds one pair a game from the differences of its scores.

    Args:
        crps, brier: (n,) or one for all, differences model − other.
        covered: (n,), whether the intervals held; or the share of them that did, evenly spread.
        alpha: miscoverage rate of the intervals.
    """
    crps = np.atleast_1d(np.asarray(crps, dtype=np.float64))
    brier = np.broadcast_to(np.asarray(brier, dtype=np.float64), crps.shape)
    count = len(crps)
    held = np.asarray(covered)
    if held.ndim == 0:
        held = np.floor(np.arange(1, count + 1) * held) > np.floor(np.arange(count) * held)
    return PairedForecasts(
        game=np.arange(count),
        minute=np.full(count, 18),
        alpha=np.full(count, alpha),
        crps=4.0 + crps,
        against_crps=np.full(count, 4.0),
        brier=0.2 + brier,
        against_brier=np.full(count, 0.2),
        covered=held.astype(np.bool_),
    )


def joined(parts: Sequence[PairedForecasts]) -> PairedForecasts:
    """Joins pairs, one after the other, without renumbering their games."""
    names = PairedForecasts.__dataclass_fields__
    return PairedForecasts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
