"""Split-conformal distributions of the references: intervals and probabilities from residuals of held-out games.

For n residuals that are exchangeable with the next game's, the interval between the k-th smallest and the k-th
largest, k = ⌊(n + 1)·α/2⌋, covers the outcome with probability at least 1 − α, and misses it on each side with at most
α/2 (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; the asymmetric form: Romano, Patterson &
Candès, Conformalized Quantile Regression, 2019). All levels together form a conformal predictive distribution (Vovk,
Shen, Manokhin & Xie, Nonparametric predictive distributions based on conformal prediction, 2019).

Coverage should hold for close games and for blowouts, not only on average. Residuals are therefore divided by the RMSE
of the models at that size of lead on the training games (normalised conformal prediction: Papadopoulos, Gammerman &
Vovk, 2008), and split into cells by the size of the lead where there are enough of them (Mondrian categories: Vovk et
al. 2005, section 4.5).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import THRESHOLDS, Horizon, Interval
from dejavu_models.uncertainty.lead_groups import LEAD_EDGES, UNSCALED, lead_groups

MIN_CELL: Final = 1000
"""Minimum games per cell if there is more than one cell. A probability from n residuals has a squared error of
p(1 − p)/n; in smaller cells it outweighs the gain from splitting. Chosen on the seasons 2017 and 2018."""

LATE_MIN_CELL: Final = 400
"""Minimum for forecasts of the final that are made in the fourth quarter. There, close games differ from others in more
than scale: the trailing team fouls, and a tie goes to overtime. Chosen on the same seasons."""

_LATE = 36

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ConformalScores:
    """Residuals of games, in ascending order.

    Raises:
        ValueError: if there are none, or they are not finite and ascending.
    """

    residuals: Floats

    def __post_init__(self) -> None:
        values = self.residuals
        if values.ndim != 1 or not len(values) or values.dtype != np.float64:
            raise ValueError("residuals must be a non-empty vector of float64")
        if not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise ValueError("residuals must be finite and ascending")

    @property
    def games(self) -> int:
        """Number of games."""
        return len(self.residuals)

    @cached_property
    def smallest_level(self) -> float:
        """Smallest level that has a quantile; ½ with a single residual."""
        return 1 / (self.games + 1)

    def quantile(self, level: float) -> float:
        """Return the quantile of the residuals, rounded away from the median; non-decreasing in the level.

        Args:
            level: in [smallest_level, 1 − smallest_level].

        Raises:
            ValueError: if the level is outside.
        """
        # _ROUNDING: levels such as 1 − 0.9 are slightly too small by floating-point rounding.
        rank = math.floor((self.games + 1) * min(level, 1 - level) + _ROUNDING)
        if rank < 1:
            raise ValueError(f"level {level} is not in [{self.smallest_level}, {1 - self.smallest_level}]")
        if level < 0.5:
            return float(self.residuals[rank - 1])
        if level > 0.5:
            return float(self.residuals[-rank])
        return float(self.residuals[rank - 1] + self.residuals[-rank]) / 2

    def share_above(self, needed: Floats) -> Floats:
        """Return the share of residuals above each value, counting ties as half.

        Smoothed like a conformal p-value: the next game counts as one more residual, half above and half below, so the
        share is never 0 or 1.

        Args:
            needed: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - not_above / 2) / (self.games + 1)


@dataclass(frozen=True)
class PredictiveDistribution:
    """Predictive distribution of the differential at a horizon, given a point forecast and the lead.

    A residual is (outcome − forecast) / scale of its group. In all cells except the first, residuals are mirrored
    towards the leader (sign flipped if the away team leads), because home and away teams lose leads in the same way. In
    the first cell, where one basket may change the lead, they are not mirrored, so the distribution has no jump where
    the lead changes sign.

    Attributes:
        threshold: differential, in points, above which the home team leads.
        edges: edges between the cells by |lead|, in points: a subset of LEAD_EDGES, ascending.
        cells: residuals of each cell, one more than edges.
        scales: scale of each group between LEAD_EDGES, in points.

    Raises:
        ValueError: if these are inconsistent.
    """

    threshold: float
    edges: tuple[float, ...]
    cells: tuple[ConformalScores, ...]
    scales: tuple[float, ...] = UNSCALED

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.edges) + 1:
            raise ValueError(f"{len(self.cells)} cells and {len(self.edges)} edges between them")
        if self.edges != tuple(edge for edge in LEAD_EDGES if edge in self.edges):
            raise ValueError(f"edges must be some of {LEAD_EDGES}, in ascending order")
        if len(self.scales) != len(UNSCALED) or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"there must be {len(UNSCALED)} scales, positive and finite")

    @classmethod
    def fit(
        cls,
        horizon: Horizon,
        points: Floats,
        leads: Floats,
        outcomes: Floats,
        *,
        scales: Sequence[float] = UNSCALED,
        min_cell: int = MIN_CELL,
    ) -> PredictiveDistribution:
        """Fit the distribution to forecasts of games that the model has not seen, (n,) each, in points; n ≥ 1.

        Starts with the cells between LEAD_EDGES and merges the smallest with its smaller neighbour until each has at
        least `min_cell` games.
        """
        size = np.abs(leads)
        edges = _merged_edges(size, min_cell)
        residuals = (outcomes - points) / np.asarray(scales)[lead_groups(leads)]
        cell_of = np.searchsorted(edges, size, side="right")
        mirrored = np.where((leads < 0) & (cell_of > 0), -residuals, residuals)
        cells = tuple(ConformalScores(np.sort(mirrored[cell_of == cell])) for cell in range(len(edges) + 1))
        return cls(THRESHOLDS[horizon], edges, cells, tuple(map(float, scales)))

    @cached_property
    def smallest_alpha(self) -> float:
        """Smallest alpha for which every cell has an interval."""
        return 2 * max(cell.smallest_level for cell in self.cells)

    @cached_property
    def _cell_of_group(self) -> tuple[int, ...]:
        return tuple(bisect.bisect_right(self.edges, least) for least in (0.0, *LEAD_EDGES))

    def residuals_for(self, lead: float) -> ConformalScores:
        """Return the residuals for a game with this lead: outcome − forecast, in points."""
        cell, scale = self._signed(lead)
        residuals = cell.residuals * scale
        return ConformalScores(residuals if scale > 0 else residuals[::-1])

    def interval(self, point: float, lead: float, alpha: float) -> Interval:
        """Return the interval around a point forecast; nested in alpha.

        For alpha near 1 both quantiles may lie on one side of the point; the interval is then widened to contain it,
        which can only raise its coverage.

        Raises:
            ValueError: if alpha is less than `smallest_alpha` or not less than 1.
        """
        if not alpha < 1:
            raise ValueError(f"alpha {alpha} is not less than 1")
        lower, upper = self.quantiles(point, lead, (alpha / 2, 1 - alpha / 2))
        return Interval(min(lower, point), max(upper, point))

    def quantiles(self, point: float, lead: float, levels: Sequence[float]) -> list[float]:
        """Return quantiles of the differential, in points, in the order of the levels; non-decreasing in the level.

        Raises:
            ValueError: if a level is closer to 0 or 1 than the cell of this lead allows; a distance of at least half of
                `smallest_alpha` works for every cell.
        """
        scores, scale = self._signed(lead)
        return [point + scale * scores.quantile(level if scale > 0 else 1 - level) for level in levels]

    def _signed(self, lead: float) -> tuple[ConformalScores, float]:
        """Return the residuals of the cell of this lead and their scale: negative if they are mirrored.

        They are mirrored if the away team leads, beyond the first cell.
        """
        group = bisect.bisect_right(LEAD_EDGES, abs(lead))
        cell, scale = self._cell_of_group[group], self.scales[group]
        return self.cells[cell], -scale if lead < 0 and cell > 0 else scale

    def home_lead_probability(self, points: Floats, leads: Floats) -> Floats:
        """Return P(differential > threshold); non-decreasing in point and lead.

        Groups also differ by chance, and the probability must not fall when a lead grows into the next group. A lead is
        therefore at least as safe as under the cells of all smaller leads.

        Args:
            points: (n,) point forecasts.
            leads: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        needed = self.threshold - points
        group = lead_groups(leads)
        result = self.cells[0].share_above(needed / self.scales[0])
        for smaller in range(1, len(self.scales)):
            cell = self.cells[self._cell_of_group[smaller]]
            home, away = (group >= smaller) & (leads > 0), (group >= smaller) & (leads < 0)
            scaled = needed / self.scales[smaller]
            if home.any():
                result[home] = np.maximum(result[home], cell.share_above(scaled[home]))
            if away.any():
                mirrored = self._cell_of_group[smaller] > 0
                share = 1 - cell.share_above(-scaled[away]) if mirrored else cell.share_above(scaled[away])
                result[away] = np.minimum(result[away], share)
        return result


def min_cell_size(horizon: Horizon, minute: int, min_cell: int = MIN_CELL) -> int:
    """Return the minimum games per cell: `min_cell`, or LATE_MIN_CELL if it applies and is smaller."""
    return min(min_cell, LATE_MIN_CELL) if horizon is Horizon.FINAL and minute > _LATE else min_cell


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
