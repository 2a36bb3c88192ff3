"""Groups of games by the size of the lead."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers

LEAD_EDGES: Final = (3.5, 8.5, 15.5)
"""Edges between groups of games by |lead|, in points: 0–3, 4–8, 9–15, 16 and more. Each group has a scale."""

UNSCALED: Final = (1.0,) * (len(LEAD_EDGES) + 1)
"""Scales of 1 for every group."""


def lead_groups(leads: Floats | NDArray[np.integer]) -> Integers:
    """Return the group of each |lead| (0–3, 4–8, 9–15, 16 or more points), 0 to 3: (n,) → (n,)."""
    return np.searchsorted(LEAD_EDGES, np.abs(leads), side="right").astype(np.int64)
