"""Distribution of the total points of one game by the compiled models; `TotalModel.distribution` is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dejavu_models.native import native
from dejavu_models.totals.inputs import LATE, MOST_TO_COME
from dejavu_models.totals.model import CENTERS, TotalModel
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.distribution import TOLERANCE
from dejavu_models.uncertainty.lattice.game import native_shapes
from dejavu_models.uncertainty.lattice.margin_model import ROWS
from dejavu_models.uncertainty.lattice.shapes import ONE_SHAPE


class TotalDistribution(Protocol):
    """Distribution of the total of one game on whole numbers."""

    @property
    def point(self) -> float:
        """Point forecast of the total, in points."""

    def cumulative(self, total: int) -> float:
        """Return the probability of a total or less, in [0, 1]."""

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Return, for each level in (0, 1), the least total that is not exceeded with at least this probability."""


class TotalTables:
    """Tables of one horizon and minute in the compiled models.

    Args:
        model: tables of one source of the expected total.
        horizon: the horizon.
        minute: number of minutes played.
    """

    def __init__(self, model: TotalModel, horizon: Horizon, minute: int) -> None:
        row, final = ROWS[HORIZONS.index(horizon), minute], horizon is Horizon.FINAL
        late = final and minute >= LATE
        self._tables = native.PointTables(
            native_shapes(
                model.late_shapes[minute - LATE] if late else model.shapes[row : row + 1],
                CENTERS.tolist() if late else ONE_SHAPE,
            ),
            final=final,
            late=late,
            point=model.point[row].tolist(),
            scale=model.scale[row].tolist(),
            log_mean=float(model.log_mean[row]),
            tolerance=TOLERANCE,
            most_to_come=MOST_TO_COME,
        )

    def game(self, points: int, lead: float, expected: float) -> TotalDistribution:
        """Return the distribution of one game.

        Args:
            points: points of both teams so far.
            lead: last known differential, in points.
            expected: expected final total before tip-off, in points; 0 if unknown.
        """
        game: TotalDistribution = self._tables.game(points, lead, expected)
        return game
