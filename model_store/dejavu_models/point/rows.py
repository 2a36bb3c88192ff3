"""Rows that describe games to components that plug in: one game after one minute per row, of a fixed width.

Training and serving build them with the same function.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.types import HORIZONS, MAX_DIFFERENTIAL, MAX_SLOTS

INPUT: Final = "rows"
"""Name of the input of a component's graph: (n, ROW_COLUMNS), float32."""

MINUTE, MARGIN, MARGIN_KNOWN, LINEAR = 0, 1, 2, slice(3, 5)
"""Columns of a row: number of minutes played; expected final differential before the game, in points, 0 if unknown; 1
if it is known, else 0; increments that the linear models predict to the half and to the end, in points, 0 for a horizon
that has passed."""

LEVELS: Final = slice(5, 5 + MAX_SLOTS)
"""Columns of the differentials after minutes 1 to 47, in points; after the last minute played, its differential is
repeated. So the last column is always the lead."""

ROW_COLUMNS: Final = LEVELS.stop
"""Number of columns of a row."""

MAX_CORRECTION: Final = 1000.0
"""Bound of a component's correction, in points, as of the LSTM's."""


def rows_of(patterns: Floats, margins: Floats, increments: Floats) -> Singles:
    """Return the rows of games whose patterns have the same length.

    Args:
        patterns: (n, m), in points, m from 1 to 47.
        margins: (n,), expected final differentials before the game, in points; NaN if unknown.
        increments: (n, 2), increments that the linear models predict, in points; NaN for a horizon that has passed.

    Returns:
        (n, ROW_COLUMNS).
    """
    games, minute = patterns.shape
    rows = np.empty((games, ROW_COLUMNS), dtype=np.float32)
    rows[:, MINUTE] = minute
    rows[:, MARGIN] = np.nan_to_num(margins)
    rows[:, MARGIN_KNOWN] = np.isfinite(margins)
    rows[:, LINEAR] = np.nan_to_num(increments) * [minute <= horizon.last_slot for horizon in HORIZONS]
    levels = rows[:, LEVELS]
    levels[:, :minute] = patterns
    levels[:, minute:] = patterns[:, -1:]
    return rows


def checked_rows() -> Singles:
    """Return the rows that a component must answer before it is served: of every minute, the largest leads included."""
    rows = []
    for minute in range(1, MAX_SLOTS + 1):
        leads = np.array([0.0, 14.0, -40.0, 6.0, MAX_DIFFERENTIAL, -MAX_DIFFERENTIAL])
        margins = np.array([np.nan, -4.0, 12.0, 3.5, MAX_DIFFERENTIAL, np.nan])
        increments = np.array([[0.0, 0.0], [-2.0, -3.0], [4.0, 9.0], [0.5, 1.0], [-50.0, -90.0], [50.0, 90.0]])
        patterns = leads[:, None] * np.arange(1, minute + 1) / minute
        rows.append(rows_of(patterns, margins, increments))
    return np.concatenate(rows)
