"""Split-conformal predictive distributions: intervals and probabilities from residuals of held-out games.

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
from dejavu_models.types import Horizon, Interval
from dejavu_models.uncertainty.conformal_cells import LEAD_EDGES, MIN_CELL, UNSCALED, _group, _merged_edges, lead_groups
from dejavu_models.uncertainty.conformal_scores import NORMAL, ConformalScores, ScoreGrid

THRESHOLDS: Final = {Horizon.HALFTIME: 0.5, Horizon.FINAL: 0.0}
"""Predicted differential above which the home team counts as leading. At halftime a prediction below half a point
rounds to a tie, which is not a lead; a final score is never a tie."""


_MIN_PROBABILITY = 1e-9
"""Minimum distance of bet probabilities from 0 and 1."""


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
        scales: scale of each group between LEAD_EDGES, in points; fitted without the calibration games.

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
        """Fit the distribution to forecasts of calibration games, (n,) each, in points; n ≥ 1.

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

    def scores(self, lead: float) -> ConformalScores:
        """Return the residuals of the cell of this lead, as stored: scaled and mirrored."""
        return self.cells[self._cell_of_group[_group(lead)]]

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

    def interval_at(self, point: float, lead: float, reach: float) -> Interval:
        """Like `interval`, but between the quantiles at standard-normal scores of ±reach, for any reach."""
        lower, upper = self.values_at(point, lead, (-reach, reach))
        return Interval(min(lower, point), max(upper, point))

    def values_at(self, point: float, lead: float, scores: Sequence[float]) -> list[float]:
        """Return quantiles at the levels of standard-normal scores, in points; see `ConformalScores.value_at`."""
        cell, scale = self._signed(lead)
        sign = math.copysign(1.0, scale)
        return [point + scale * cell.value_at(sign * score) for score in scores]

    def recorded_quantiles(self, point: float, lead: float, places: ScoreGrid | None = None) -> tuple[float, ...]:
        """Return quantiles on a score grid, by default at DISTRIBUTION_LEVELS; rounded to 0.001 points."""
        cell, scale = self._signed(lead)
        values = cell.at_levels if places is None else cell.values_at(places)
        # The grid is symmetric, so mirrored residuals only need the reversed order.
        result: list[float] = np.round(point + scale * (values if scale > 0 else values[::-1]), 3).tolist()
        return tuple(result)

    def _signed(self, lead: float) -> tuple[ConformalScores, float]:
        """Return the residuals of the cell of this lead and their scale: negative if they are mirrored.

        They are mirrored if the away team leads, beyond the first cell.
        """
        group = _group(lead)
        cell, scale = self._cell_of_group[group], self.scales[group]
        return self.cells[cell], -scale if lead < 0 and cell > 0 else scale

    def probability_above(self, point: float, lead: float, value: float) -> float:
        """Return P(differential > value); non-increasing in value, and `home_lead_probability_of` at the threshold.

        At the threshold, groups of smaller leads also contribute; elsewhere only the lead's own cell does. Their
        adjustment at the threshold, in standard-normal scores, applies in full on the more certain side of the
        threshold and fades out within one scale on the other side.
        """
        at_threshold = self.home_lead_probability_of(point, lead)
        if value == self.threshold:
            return at_threshold
        cell, scale = self._signed(lead)
        share, share_at_threshold = (cell.share_above_one((each - point) / scale) for each in (value, self.threshold))
        score = math.copysign(1.0, scale) * NORMAL.inv_cdf(share)
        shift = NORMAL.inv_cdf(at_threshold) - math.copysign(1.0, scale) * NORMAL.inv_cdf(share_at_threshold)
        if shift:
            # A lead shifts the score up, a deficit down; the shift fades as the value moves past the threshold.
            beyond = (value - self.threshold) * math.copysign(1.0, shift)
            score += shift * min(1.0, max(0.0, 1.0 - beyond / abs(scale)))
        return max(_MIN_PROBABILITY, min(1 - _MIN_PROBABILITY, NORMAL.cdf(score)))

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

    def home_lead_probability_of(self, point: float, lead: float) -> float:
        """Like `home_lead_probability`, for one game; several times faster than arrays of one value."""
        needed = self.threshold - point
        result = self.cells[0].share_above_one(needed / self.scales[0])
        for smaller in range(1, _group(lead) + 1):
            cell, scaled = self.cells[self._cell_of_group[smaller]], needed / self.scales[smaller]
            if lead > 0:
                result = max(result, cell.share_above_one(scaled))
            elif self._cell_of_group[smaller] > 0:
                result = min(result, 1 - cell.share_above_one(-scaled))
            else:
                result = min(result, cell.share_above_one(scaled))
        return result
