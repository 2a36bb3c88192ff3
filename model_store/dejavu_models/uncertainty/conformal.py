"""Split-conformal predictive distributions: from residuals of games that no model saw to intervals and probabilities.

For n residuals that are exchangeable with the next game's, the interval between the k-th smallest and the k-th
largest, k = ⌊(n + 1)·α/2⌋, holds with probability at least 1 − α, and each tail is missed with at most α/2 (Vovk,
Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; the asymmetric form: Romano, Patterson & Candès,
Conformalized Quantile Regression, 2019). All levels together are a conformal predictive distribution (Vovk, Shen,
Manokhin & Xie, Nonparametric predictive distributions based on conformal prediction, 2019).

What holds on average has to hold for close and for decided games too. So residuals are divided by how far the models
are off at leads of that size, as the training games tell (normalised conformal prediction: Papadopoulos, Gammerman &
Vovk, 2008), and kept apart by the size of the lead where there are enough of them (Mondrian categories: Vovk et al.
2005, section 4.5).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers
from dejavu_models.types import Horizon, Interval
from dejavu_models.uncertainty.conformal_scores import NORMAL, ConformalScores, ScoreGrid

THRESHOLDS: Final = {Horizon.HALFTIME: 0.5, Horizon.FINAL: 0.0}
"""Beyond which predicted differential the home team leads. At the half a prediction below half a point rounds to a tie,
which is no lead; at the end there is no tie."""

LEAD_EDGES: Final = (3.5, 8.5, 15.5)
"""Between groups of games, by |lead| in points: 0–3, 4–8, 9–15, 16 and more. Each has a scale; a cell is one or several
of them."""

UNSCALED: Final = (1.0,) * (len(LEAD_EDGES) + 1)

MIN_CELL: Final = 1000
"""The fewest calibration games of a cell, where there is more than one. A probability taken from n residuals is off by
p(1 − p)/n in squared error, which smaller cells add faster than they gain; chosen on the seasons 2017 and 2018."""

LATE_MIN_CELL: Final = 400
"""The same for the end, seen from the fourth quarter. There close games differ from others not in scale alone: who is
behind fouls, and a tie is played on. Chosen on the same seasons."""

_LATE = 36


_MOST_CERTAIN = 1e-9
"""As near as probabilities of a bet come to 0 and 1."""


@dataclass(frozen=True)
class PredictiveDistribution:
    """The differential at a horizon, given a point forecast and the lead.

    A residual is outcome − forecast, over the scale of its group. In all cells but the first it is turned towards the
    leader (its sign changed where the away team leads), because home and away teams lose leads alike; in the first,
    where the lead may change hands with a basket, it is not, so that nothing jumps where the lead changes its sign.

    Attributes:
        threshold: of the differential, in points, beyond which the home team leads.
        edges: between the cells, by |lead|, in points: some of LEAD_EDGES, ascending.
        cells: the residuals, one more than edges.
        scales: of the groups between LEAD_EDGES, in points; known before the calibration games were.

    Raises:
        ValueError: if these do not fit together.
    """

    threshold: float
    edges: tuple[float, ...]
    cells: tuple[ConformalScores, ...]
    scales: tuple[float, ...] = UNSCALED

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.edges) + 1:
            raise ValueError(f"{len(self.cells)} cells and {len(self.edges)} edges between them")
        if self.edges != tuple(edge for edge in LEAD_EDGES if edge in self.edges):
            raise ValueError(f"edges must be some of {LEAD_EDGES}, and ascend")
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
        """From the forecasts of calibration games, (n,) each, in points; n ≥ 1.

        Of the cells between LEAD_EDGES, the smallest is joined with its smaller neighbour until none has fewer than
        `min_cell` games.
        """
        size = np.abs(leads)
        edges = _joined(size, min_cell)
        residuals = (outcomes - points) / np.asarray(scales)[lead_groups(leads)]
        place = np.searchsorted(edges, size, side="right")
        turned = np.where((leads < 0) & (place > 0), -residuals, residuals)
        cells = tuple(ConformalScores(np.sort(turned[place == cell])) for cell in range(len(edges) + 1))
        return cls(THRESHOLDS[horizon], edges, cells, tuple(map(float, scales)))

    @property
    def games(self) -> int:
        """How many calibration games all cells have."""
        return sum(cell.games for cell in self.cells)

    @cached_property
    def smallest_alpha(self) -> float:
        """The smallest alpha for which every cell has an interval."""
        return 2 * max(cell.smallest_level for cell in self.cells)

    @cached_property
    def _cell_of_group(self) -> tuple[int, ...]:
        return tuple(bisect.bisect_right(self.edges, least) for least in (0.0, *LEAD_EDGES))

    def scores(self, lead: float) -> ConformalScores:
        """The residuals that speak of a game with this lead, over their scales and turned as they are kept."""
        return self.cells[self._cell_of_group[_group(lead)]]

    def sample(self, lead: float) -> ConformalScores:
        """The residuals as they apply to a game with this lead: outcome − forecast, in points."""
        group = _group(lead)
        residuals = self.cells[self._cell_of_group[group]].residuals * self.scales[group]
        return ConformalScores(-residuals[::-1] if self._mirrored(lead, group) else residuals)

    def _mirrored(self, lead: float, group: int) -> bool:
        """Whether residuals of this lead are turned: those of the away team's, beyond the first cell."""
        return lead < 0 and self._cell_of_group[group] > 0

    def interval(self, point: float, lead: float, alpha: float) -> Interval:
        """The interval around a point forecast; nested in alpha.

        For alpha near 1 both quantiles may lie on one side of the point; the interval is then widened to hold it, which
        can only raise its coverage.

        Raises:
            ValueError: if alpha is less than `smallest_alpha` or not less than 1.
        """
        if not alpha < 1:
            raise ValueError(f"alpha {alpha} is not less than 1")
        lower, upper = self.quantiles(point, lead, (alpha / 2, 1 - alpha / 2))
        return Interval(min(lower, point), max(upper, point))

    def quantiles(self, point: float, lead: float, levels: Sequence[float]) -> list[float]:
        """Quantiles of the differential, in points, in the order of the levels; a higher level never has a lower one.

        Raises:
            ValueError: if a level is nearer to 0 or 1 than half of `smallest_alpha`.
        """
        scores, scale = self._signed(lead)
        if scale < 0:
            return [point + scale * scores.quantile(1 - level) for level in levels]
        return [point + scale * scores.quantile(level) for level in levels]

    def interval_at(self, point: float, lead: float, reach: float) -> Interval:
        """As `interval`, between the quantiles at standard-normal scores of ∓reach, however far out they lie."""
        lower, upper = self.values_at(point, lead, (-reach, reach))
        return Interval(min(lower, point), max(upper, point))

    def values_at(self, point: float, lead: float, scores: Sequence[float]) -> list[float]:
        """Quantiles at the levels of standard-normal scores, in points; see `ConformalScores.value_at`."""
        cell, scale = self._signed(lead)
        towards = math.copysign(1.0, scale)
        return [point + scale * cell.value_at(towards * score) for score in scores]

    def recorded(self, point: float, lead: float, places: ScoreGrid | None = None) -> tuple[float, ...]:
        """Quantiles in many places, by default at DISTRIBUTION_LEVELS; rounded to 0.001 points."""
        cell, scale = self._signed(lead)
        values = cell.at_levels if places is None else cell.values_at(places)
        # The other end, which turned residuals are asked for from, is as far from the middle.
        result: list[float] = np.round(point + scale * (values if scale > 0 else values[::-1]), 3).tolist()
        return tuple(result)

    def _signed(self, lead: float) -> tuple[ConformalScores, float]:
        """The residuals that speak of a game with this lead, and their scale: negative where they are turned."""
        group = _group(lead)
        scale = self.scales[group]
        return self.cells[self._cell_of_group[group]], -scale if self._mirrored(lead, group) else scale

    def probability_above(self, point: float, lead: float, value: float) -> float:
        """P(differential > value); never rises with the value, and at the threshold is `home_lead_probability_of`.

        There the groups of smaller leads have a say, elsewhere only the lead's own. What they change at the threshold
        lasts on the side of what is surer still, and fades on the other within one scale; in standard-normal scores.
        """
        at_threshold = self.home_lead_probability_of(point, lead)
        if value == self.threshold:
            return at_threshold
        cell, scale = self._signed(lead)
        share, there = (cell.share_above_one((each - point) / scale) for each in (value, self.threshold))
        score = math.copysign(1.0, scale) * NORMAL.inv_cdf(share)
        pulled = NORMAL.inv_cdf(at_threshold) - math.copysign(1.0, scale) * NORMAL.inv_cdf(there)
        if pulled:
            # A lead pulls up, a lag down; either is less the further from the threshold the surprise lies.
            beyond = (value - self.threshold) * math.copysign(1.0, pulled)
            score += pulled * min(1.0, max(0.0, 1.0 - beyond / abs(scale)))
        return max(_MOST_CERTAIN, min(1 - _MOST_CERTAIN, NORMAL.cdf(score)))

    def home_lead_probability(self, points: Floats, leads: Floats) -> Floats:
        """P(differential > threshold); never falls as point and lead rise.

        Two groups differ by chance too, and a probability must not fall because a lead has grown into the next one. So
        a lead counts as at least as safe as the groups of smaller leads would have it.

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
                turned = self._cell_of_group[smaller] > 0
                share = 1 - cell.share_above(-scaled[away]) if turned else cell.share_above(scaled[away])
                result[away] = np.minimum(result[away], share)
        return result

    def home_lead_probability_of(self, point: float, lead: float) -> float:
        """As `home_lead_probability`, for one game: arrays of one value cost several times as much."""
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


def least_cell(horizon: Horizon, minute: int, min_cell: int = MIN_CELL) -> int:
    """The fewest calibration games of a cell at a minute: `min_cell`, or LATE_MIN_CELL where it counts and is less."""
    return min(min_cell, LATE_MIN_CELL) if horizon is Horizon.FINAL and minute > _LATE else min_cell


def lead_groups(leads: Floats | NDArray[np.integer]) -> Integers:
    """Which of 0–3, 4–8, 9–15, 16 or more points each lead lies in, whoever has it: (n,) → (n,)."""
    return np.searchsorted(LEAD_EDGES, np.abs(leads), side="right").astype(np.int64)


def _group(lead: float) -> int:
    return bisect.bisect_right(LEAD_EDGES, abs(lead))


def _joined(size: Floats, min_cell: int) -> tuple[float, ...]:
    """The edges that are left between cells of at least `min_cell` games each, if there is more than one."""
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
