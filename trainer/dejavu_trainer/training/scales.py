"""Fits scales of residuals, as logarithms that are linear in some terms, for every horizon and minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, Horizon

POWER: Final = 1.5
"""Power of the residuals to which scales are fitted: less sensitive to the largest ones than 2."""

MIN_SCALE: Final = 0.1
"""Lower bound of a scale, in points; avoids division by near-zero spreads in small data sets."""

SMOOTHING_MINUTES: Final = 3.0
"""Width of the kernel that smooths the slopes of scales over minutes."""


def fit_scales(terms: Sequence[Floats], residuals: Floats, late: int) -> Floats:
    """Fit the coefficients of the logarithms of the scales; their slopes are smoothed over minutes.

    Args:
        terms: by case, (n, k); the first is 1. Terms that are 0 in all games get the coefficient 0.
        residuals: (n, cases), in points.
        late: minute from which the final has terms of its own: its slopes are smoothed separately.

    Returns:
        (cases, k).
    """
    result = np.zeros((len(CASES), terms[0].shape[1]))
    for row in range(len(CASES)):
        start = np.zeros(terms[row].shape[1])
        start[0] = np.log(max(residuals[:, row].std(), MIN_SCALE))
        result[row] = _fit_scale(terms[row], residuals[:, row], start, np.flatnonzero(terms[row].any(axis=0)))
    for group in _smoothed_together(late):
        slopes = _smoothed(result[group, 1:])
        for row, of_row in zip(group, slopes, strict=True):
            result[row, 1:] = of_row
            result[row] = _fit_scale(terms[row], residuals[:, row], result[row], np.array([0]))
    return result


def standardized(terms: Sequence[Floats], residuals: Floats, scales: Floats) -> Floats:
    """Return residuals over their scales, (n, cases); the arguments are those and the result of `fit_scales`."""
    return np.stack([residuals[:, row] / np.exp(terms[row] @ scales[row]) for row in range(len(CASES))], axis=1)


def _fit_scale(terms: Floats, residuals: Floats, start: Floats, free: NDArray[np.intp]) -> Floats:
    """Fit the logarithm of the scale by Newton's method.

    Minimizes Σ log σ + |r/σ|^POWER / POWER, the negative log-likelihood of a generalised normal distribution of that
    power. Only the coefficients `free` are changed.
    """
    sizes, inputs, result = np.abs(residuals) ** POWER, terms[:, free], start.copy()
    gram = inputs.T @ inputs
    for _ in range(30):
        excess = sizes / np.exp(POWER * (terms @ result)) - 1
        step = np.linalg.solve(gram, inputs.T @ excess) / POWER
        result[free] += np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-6:
            break
    return result


def _smoothed_together(late: int) -> list[list[int]]:
    """Return the rows whose slopes are smoothed together: by horizon, those of late minutes separately."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for row, (index, minute) in enumerate(CASES):
        groups.setdefault((index, HORIZONS[index] is Horizon.FINAL and minute >= late), []).append(row)
    return list(groups.values())


def _smoothed(slopes: Floats) -> Floats:
    """Smooth (minutes, k) over minutes: local-linear with a Gaussian kernel (Fan 1992)."""
    minutes, result = np.arange(len(slopes)), np.empty_like(slopes)
    for minute in minutes:
        weights = np.exp(-((minutes - minute) ** 2) / (2 * SMOOTHING_MINUTES**2))[:, None]
        inputs = np.stack([np.ones(len(minutes)), minutes - minute], axis=1)
        result[minute] = np.linalg.solve((inputs * weights).T @ inputs, (inputs * weights).T @ slopes)[0]
    return result
