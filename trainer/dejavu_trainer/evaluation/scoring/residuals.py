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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.types import THRESHOLDS, Horizon
from dejavu_models.uncertainty.lead_groups import LEAD_EDGES, UNSCALED, lead_groups
from dejavu_trainer.evaluation.table import ALPHAS, LEVELS, Columns

MIN_CELL: Final = 1000
"""Minimum games per cell if there is more than one cell. A probability from n residuals has a squared error of
p(1 − p)/n; in smaller cells it outweighs the gain from splitting. Chosen on the seasons 2017 and 2018."""

LATE_MIN_CELL: Final = 400
"""Minimum for forecasts of the final that are made in the fourth quarter. There, close games differ from others in more
than scale: the trailing team fouls, and a tie goes to overtime. Chosen on the same seasons."""

_LATE = 36

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ResidualDistribution:
    """Predictive distribution of the differential at a horizon, given a point forecast and the lead.

    A residual is (outcome − forecast) / scale of its group. In all cells except the first, residuals are mirrored
    towards the leader (sign flipped if the away team leads), because home and away teams lose leads in the same way. In
    the first cell, where one basket may change the lead, they are not mirrored, so the distribution has no jump where
    the lead changes sign.

    Attributes:
        threshold: differential, in points, above which the home team leads.
        edges: edges between the cells by |lead|, in points: a subset of LEAD_EDGES, ascending.
        cells: residuals of each cell, ascending; one cell more than edges.
        scales: scale of each group between LEAD_EDGES, in points.
    """

    threshold: float
    edges: tuple[float, ...]
    cells: tuple[Floats, ...]
    scales: Floats

    @classmethod
    def fit(
        cls,
        horizon: Horizon,
        points: Floats,
        leads: Floats,
        outcomes: Floats,
        *,
        scales: Sequence[float] | Floats = UNSCALED,
        min_cell: int = MIN_CELL,
    ) -> ResidualDistribution:
        """Fit the distribution to forecasts of games that the model has not seen, (n,) each, in points; n ≥ 1.

        Starts with the cells between LEAD_EDGES and merges the smallest with its smaller neighbour until each has at
        least `min_cell` games.
        """
        size = np.abs(leads)
        edges = _merged_edges(size, min_cell)
        residuals = (outcomes - points) / np.asarray(scales)[lead_groups(leads)]
        cell_of = np.searchsorted(edges, size, side="right")
        mirrored = np.where((leads < 0) & (cell_of > 0), -residuals, residuals)
        cells = tuple(np.sort(mirrored[cell_of == cell]) for cell in range(len(edges) + 1))
        return cls(THRESHOLDS[horizon], edges, cells, np.asarray(scales, dtype=np.float64))

    def residuals(self, lead: float) -> Floats:
        """Return the residuals for a game with this lead: outcome − forecast, in points, ascending."""
        cell = self._cell(group := int(lead_groups(np.array([lead]))[0]))
        residuals: Floats = self.cells[cell] * self.scales[group]
        return -residuals[::-1] if lead < 0 and cell > 0 else residuals

    def _cell(self, group: int) -> int:
        return int(np.searchsorted(self.edges, (0.0, *LEAD_EDGES)[group], side="right"))

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
        result = share_above(self.cells[0], needed / self.scales[0])
        for smaller in range(1, len(self.scales)):
            cell = self._cell(smaller)
            home, away = (group >= smaller) & (leads > 0), (group >= smaller) & (leads < 0)
            scaled = needed / self.scales[smaller]
            result[home] = np.maximum(result[home], share_above(self.cells[cell], scaled[home]))
            turned = 1 - share_above(self.cells[cell], -scaled[away])
            share = turned if cell > 0 else share_above(self.cells[cell], scaled[away])
            result[away] = np.minimum(result[away], share)
        return result

    def scored(self, points: Floats, leads: Floats, outcomes: Floats) -> Columns:
        """Return the scores of forecasts of n games, (n,) each, in points; interval ends are NaN where there are none.

        Games of one lead group and side share their residuals.
        """
        result: Columns = {"point": points, "probability": self.home_lead_probability(points, leads)}
        ends = [f"{end}_{level}" for level in LEVELS for end in ("lower", "upper")]
        result |= {name: np.full(len(points), np.nan) for name in ("crps", "pit", *ends)}
        sides = lead_groups(leads) + len(self.scales) * (leads < 0)
        for side in np.unique(sides):
            rows = np.flatnonzero(sides == side)
            residuals, errors = self.residuals(float(leads[rows[0]])), outcomes[rows] - points[rows]
            result["crps"][rows] = metrics.crps(np.zeros(len(rows)), residuals, errors)
            result["pit"][rows] = 1 - share_above(residuals, errors)
            for level, alpha in zip(LEVELS, ALPHAS, strict=True):
                lower, upper = interval(residuals, alpha)
                result[f"lower_{level}"][rows] = points[rows] + lower
                result[f"upper_{level}"][rows] = points[rows] + upper
        return held(result, outcomes)


def held(columns: Columns, outcomes: Floats) -> Columns:
    """Return scores in single precision, and which outcomes are between the ends of the intervals, inclusive."""
    result = {name: values.astype(np.float32) for name, values in columns.items()}
    for level in LEVELS:
        lower, upper = (result[f"{end}_{level}"].astype(np.float64) for end in ("lower", "upper"))
        result[f"held_{level}"] = metrics.covered(lower, upper, outcomes).astype(np.bool_)
    return result


def interval(residuals: Floats, alpha: float) -> tuple[float, float]:
    """Return the interval of the next residual, nested in alpha; NaN for both ends if there are too few.

    For alpha near 1 both ranks may lie on one side of 0; the interval is then widened to contain the point forecast,
    which can only raise its coverage.

    Args:
        residuals: (n,), ascending.
        alpha: its miscoverage.
    """
    # _ROUNDING: levels such as 1 − 0.9 are slightly too small by floating-point rounding.
    rank = math.floor((len(residuals) + 1) * alpha / 2 + _ROUNDING)
    if rank < 1:
        return math.nan, math.nan
    return min(float(residuals[rank - 1]), 0.0), max(float(residuals[-rank]), 0.0)


def share_above(residuals: Floats, needed: Floats) -> Floats:
    """Return the share of residuals, ascending, above each value, (n,) in (0, 1), counting ties as half.

    Smoothed like a conformal p-value: the next game counts as one more residual, half above and half below.
    """
    not_above = residuals.searchsorted(needed, side="left") + residuals.searchsorted(needed, side="right")
    return (len(residuals) + 0.5 - not_above / 2) / (len(residuals) + 1)


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
