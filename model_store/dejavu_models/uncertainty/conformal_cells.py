"""Cells of calibration games: by the size of the lead, merged until each has enough games."""

from __future__ import annotations

import bisect
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers
from dejavu_models.types import Horizon

LEAD_EDGES: Final = (3.5, 8.5, 15.5)
"""Edges between groups of games by |lead|, in points: 0–3, 4–8, 9–15, 16 and more. Each group has a scale; a cell is
one group or several adjacent ones."""

UNSCALED: Final = (1.0,) * (len(LEAD_EDGES) + 1)
"""Scales of 1 for every group."""

MIN_CELL: Final = 1000
"""Minimum calibration games per cell if there is more than one cell. A probability from n residuals has a squared error
of p(1 − p)/n; in smaller cells it outweighs the gain from splitting. Chosen on the seasons 2017 and 2018."""

LATE_MIN_CELL: Final = 400
"""Minimum for forecasts of the final that are made in the fourth quarter. There, close games differ from others in more
than scale: the trailing team fouls, and a tie goes to overtime. Chosen on the same seasons."""

_LATE = 36


def min_cell_size(horizon: Horizon, minute: int, min_cell: int = MIN_CELL) -> int:
    """Return the minimum calibration games per cell: `min_cell`, or LATE_MIN_CELL if it applies and is smaller."""
    return min(min_cell, LATE_MIN_CELL) if horizon is Horizon.FINAL and minute > _LATE else min_cell


def lead_groups(leads: Floats | NDArray[np.integer]) -> Integers:
    """Return the group of each |lead| (0–3, 4–8, 9–15, 16 or more points), 0 to 3: (n,) → (n,)."""
    return np.searchsorted(LEAD_EDGES, np.abs(leads), side="right").astype(np.int64)


def _group(lead: float) -> int:
    return bisect.bisect_right(LEAD_EDGES, abs(lead))


def _merged_edges(size: Floats, min_cell: int) -> tuple[float, ...]:
    """Return the edges left after merging cells until each has at least `min_cell` games, or one cell is left."""
    edges = list(LEAD_EDGES)
    while edges:
        counts = np.bincount(np.searchsorted(edges, size, side="right"), minlength=len(edges) + 1)
        smallest = int(counts.argmin())
        if counts[smallest] >= min_cell:
            break
        if smallest == 0:
            del edges[0]
        elif smallest == len(edges) or counts[smallest - 1] <= counts[smallest + 1]:
            del edges[smallest - 1]
        else:
            del edges[smallest]
    return tuple(edges)
