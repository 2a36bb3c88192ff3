"""Distribution of the total points of one game by the compiled models: equal to `TotalGame` to the last bit."""

from __future__ import annotations

from dejavu_models.native import native
from dejavu_models.totals.game import TotalDistribution, TotalTables
from dejavu_models.totals.inputs import MOST_TO_COME
from dejavu_models.uncertainty.lattice.compiled import compiled_shapes
from dejavu_models.uncertainty.lattice.distribution import TOLERANCE


class CompiledTotalTables:
    """Tables of one horizon and minute in the compiled models.

    Args:
        tables: the same as plain numbers.
    """

    def __init__(self, tables: TotalTables) -> None:
        self._tables = native.PointTables(
            compiled_shapes(tables.arrays, tables.centers),
            final=tables.final,
            late=tables.late,
            point=tables.point,
            scale=tables.scale,
            log_mean=tables.log_mean,
            tolerance=TOLERANCE,
            most_to_come=MOST_TO_COME,
        )

    def game(self, points: int, lead: float, expected: float) -> TotalDistribution:
        """Returns the distribution of one game; see `TotalGame`."""
        game: TotalDistribution = self._tables.game(points, lead, expected)
        return game
