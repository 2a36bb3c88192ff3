"""Calibration of a bundle: one predictive distribution per horizon, minute and margin source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.conformal import THRESHOLDS, PredictiveDistribution
from dejavu_models.uncertainty.conformal_scores import ConformalScores
from dejavu_models.uncertainty.game_distribution import ConformalGame


class Situation(NamedTuple):
    """Key of a predictive distribution.

    Attributes:
        minute: minute at which the pattern ends.
        margin_source: source of the expected margin.
    """

    horizon: Horizon
    minute: int
    margin_source: MarginSource


@dataclass(frozen=True)
class Calibration:
    """Predictive distributions of a bundle.

    Raises:
        ValueError: if there are none, or a key has a minute at which its horizon cannot be forecast.
    """

    distributions: Mapping[Situation, PredictiveDistribution]

    def __post_init__(self) -> None:
        if not self.distributions:
            raise ValueError("a calibration needs at least one distribution")
        for horizon, minute, _ in self.distributions:
            if not 1 <= minute <= horizon.last_slot:
                raise ValueError(f"invalid situation: {horizon.value} from minute {minute}")

    @property
    def smallest_alpha(self) -> float:
        """The smallest alpha for which every distribution has an interval."""
        return max(each.smallest_alpha for each in self.distributions.values())

    whole_numbers: ClassVar[bool] = False
    """Whether intervals have whole ends."""

    has_line: ClassVar[bool] = False
    inputs: ClassVar[tuple[str, ...]] = ()

    def minutes(self, horizon: Horizon) -> list[int]:
        """Return the minutes from which a horizon can be forecast, ascending."""
        return sorted({each.minute for each in self.distributions if each.horizon is horizon})

    def smallest_alpha_of(self, situation: Situation) -> float | None:
        """Return the smallest alpha that has an interval; None if the situation has no distribution."""
        distribution = self.distributions.get(situation)
        return None if distribution is None else distribution.smallest_alpha

    def alpha_limit(self, situation: Situation) -> str:
        """Describe for users the limit of the smallest alpha of a situation that has a distribution."""
        games = min(cell.games for cell in self.distributions[situation].cells)
        return f"from the {games} calibration games of its smallest cell"

    def game(self, situation: Situation, point: float, lead: float) -> ConformalGame:
        """Return the distribution of one game around its point forecast.

        Args:
            situation: one that has a distribution; the line of a market has that of ratings.
            point: point forecast, in points.
            lead: last known differential, in points.
        """
        if situation.margin_source is MarginSource.LINE:
            situation = situation._replace(margin_source=MarginSource.KNOWN)
        return ConformalGame(self.distributions[situation], point, lead)

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal calibrations give equal bytes. Residuals are stored as float32."""
        situations = sorted(
            (HORIZONS.index(situation.horizon), situation.minute, int(situation.margin_source))
            for situation in self.distributions
        )
        ordered = [self.distributions[Situation(HORIZONS[key[0]], key[1], MarginSource(key[2]))] for key in situations]
        cells = [cell.residuals for each in ordered for cell in each.cells]
        return to_npz(
            situations=np.array(situations, dtype=np.int16),
            cells=np.array([len(each.cells) for each in ordered], dtype=np.int16),
            edges=np.array([edge for each in ordered for edge in each.edges], dtype=np.float64),
            sizes=np.array([len(cell) for cell in cells], dtype=np.int32),
            residuals=np.concatenate(cells).astype(np.float32),
            scales=np.array([each.scales for each in ordered], dtype=np.float64),
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Calibration:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        situations, counts, edges, sizes, residuals, scales = (
            columns[name] for name in ("situations", "cells", "edges", "sizes", "residuals", "scales")
        )
        if (
            situations.shape != (len(counts), 3)
            or not np.isin(situations[:, 0], range(len(HORIZONS))).all()
            or (counts < 1).any()
            or (sizes < 1).any()
            or counts.sum() != len(sizes)
            or len(edges) != len(sizes) - len(counts)
            or sizes.sum() != len(residuals)
            or len(scales) != len(counts)
        ):
            raise ValueError("the columns are inconsistent")
        cells = iter(np.split(residuals.astype(np.float64), np.cumsum(sizes)[:-1]))
        all_edges = iter(edges.tolist())
        distributions = {}
        for (horizon, minute, source), count, group_scales in zip(
            situations.tolist(), counts.tolist(), scales.tolist(), strict=True
        ):
            situation = Situation(HORIZONS[horizon], minute, MarginSource(source))
            cell_scores = tuple(ConformalScores(next(cells)) for _ in range(count))
            cell_edges = tuple(next(all_edges) for _ in range(count - 1))
            distributions[situation] = PredictiveDistribution(
                THRESHOLDS[situation.horizon], cell_edges, cell_scores, tuple(group_scales)
            )
        return cls(distributions)

    def rounded(self) -> Calibration:
        """Return the calibration after a write/read round trip: results from both are bit-identical."""
        return Calibration.from_bytes(self.to_bytes())
