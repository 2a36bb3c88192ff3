"""Distributions on whole numbers: of a differential, and of any number of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats, Integers
from dejavu_models.types import Interval

LARGEST: Final = 80
"""Largest differential with a probability of its own; all larger ones count as this one."""

VALUES: Final[Integers] = np.arange(-LARGEST, LARGEST + 1)
EDGES: Final[Floats] = np.arange(-LARGEST - 0.5, LARGEST + 1)
"""Edges around VALUES, (162,)."""

TOLERANCE: Final = 1e-12
"""Rounding of a cumulative probability."""


def around_point(point: float, lower: float, upper: float) -> Interval:
    """Return an interval with whole ends, widened if needed to the whole numbers around the point forecast."""
    return Interval(float(min(lower, math.floor(point))), float(max(upper, math.ceil(point))))


class WholeNumberDistribution:
    """Probabilities of n outcomes on consecutive whole numbers.

    Probability, quantiles and intervals all come from it, so they never contradict each other.

    Args:
        mass: (n, k), non-negative; each row sums to 1.
        first: (n,), the whole number of each row's first column.
    """

    def __init__(self, mass: Floats, first: Integers) -> None:
        self.mass = mass
        self.first = first

    def __len__(self) -> int:
        return len(self.mass)

    @cached_property
    def below(self) -> Floats:
        """(n, k), probability of each whole number or less."""
        result: Floats = np.cumsum(self.mass, axis=1)
        return result

    def quantiles(self, levels: Sequence[float]) -> Integers:
        """Return, for each level, the least whole numbers not exceeded with this probability or more, (n, levels).

        Args:
            levels: in (0, 1).
        """
        # One comparison of all games takes a tenth of the time of a search in each game's row.
        less = [np.count_nonzero(self.below < level - TOLERANCE, axis=1) for level in levels]
        columns = np.minimum(np.stack(less, axis=1), self.mass.shape[1] - 1)
        quantiles: Integers = columns + self.first[:, None]
        return quantiles

    def intervals(self, alpha: float) -> tuple[Integers, Integers]:
        """Return the ends of the intervals at a miscoverage rate, (n,) each; whole numbers, both within.

        At most alpha/2 lies beyond each end, so the coverage is at least 1 − alpha. On average it is a little more,
        since whole ends cannot give exactly this coverage.
        """
        ends = self.quantiles((alpha / 2, 1 - alpha / 2))
        return ends[:, 0], ends[:, 1]

    def crps(self, outcomes: Floats) -> Floats:
        """Return the continuous ranked probability scores, (n,), in points.

        Exact for a distribution on whole numbers: the sum over all of them of the squared difference between the
        distribution function and the outcome's (Epstein 1969; Gneiting & Raftery 2007).
        """
        columns = np.arange(self.mass.shape[1])
        result: Floats = np.square(self.below - ((outcomes - self.first)[:, None] <= columns)).sum(axis=1)
        return result

    def pit(self, outcomes: Floats, places: Floats | float = 0.0) -> Floats:
        """Return the probability integral transforms of outcomes, (n,), in (0, 1).

        Args:
            outcomes: (n,), whole numbers.
            places: (n,), within each whole number, in [−½, ½]: random ones make the transforms uniform.
        """
        columns = np.clip(outcomes - self.first, 0, self.mass.shape[1] - 1).astype(np.int64)
        rows = np.arange(len(self))
        result: Floats = self.below[rows, columns] + (places - 0.5) * self.mass[rows, columns]
        return result


class LatticeDistribution(WholeNumberDistribution):
    """Probabilities of n games' differentials on VALUES.

    Args:
        mass: (n, 161), non-negative; each row sums to 1.
    """

    def __init__(self, mass: Floats) -> None:
        super().__init__(mass, np.full(len(mass), -LARGEST))

    @property
    def home_leads(self) -> Floats:
        """(n,), probability that the differential is positive."""
        result: Floats = self.mass[:, LARGEST + 1 :].sum(axis=1)
        return result

    def with_home_leads(self, probability: Floats) -> LatticeDistribution:
        """Return the distributions with another probability of a positive differential, (n,), in (0, 1).

        Each side keeps its shape, so quantiles and intervals follow.
        """
        upper = probability / self.home_leads
        lower = (1 - probability) / self.mass[:, : LARGEST + 1].sum(axis=1)
        return LatticeDistribution(np.where(VALUES > 0, self.mass * upper[:, None], self.mass * lower[:, None]))


def from_cumulative(below: Floats, *, ties: bool) -> LatticeDistribution:
    """Return the distributions with known shares below each edge.

    Args:
        below: (n, 162), by EDGES, non-decreasing.
        ties: whether a differential of 0 is possible; if not, its probability is shared among all others.
    """
    mass = np.diff(below, axis=1)
    mass[:, 0] += below[:, 0]
    mass[:, -1] += 1 - below[:, -1]
    np.maximum(mass, 0, out=mass)
    if not ties:
        # No side is impossible, however certain the other one is.
        mass += FLOOR
        mass[:, LARGEST] = 0.0
    mass /= mass.sum(axis=1, keepdims=True)
    return LatticeDistribution(mass)


FLOOR: Final[Floats] = 1e-7 * np.exp(-np.abs(VALUES) / 15)
"""Added to the probability of each final margin, (161,)."""
