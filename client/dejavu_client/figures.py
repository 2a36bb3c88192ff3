"""What a list of figures comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed (nearest rank).

    Raises:
        ValueError: if there are no values.
    """
    if not ascending:
        raise ValueError("no values")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
