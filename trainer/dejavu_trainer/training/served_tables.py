"""The tables by which a server would forecast games, and the live inputs that they use."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import HORIZONS, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.inputs import LiveColumns
from dejavu_models.uncertainty.lattice.margin_model import MarginModel
from dejavu_trainer.data.games import Games


class ServedTables:
    """The tables that forecast each of n games: those with live inputs for the games that have them, as a server does.

    Args:
        live: the tables with live inputs, or those without if there are no others.
        without: the tables without.
        games: the games.

    Attributes:
        games: the games.
        use_live: whether any of them is forecast by the tables with live inputs.
    """

    def __init__(self, live: MarginModel, without: MarginModel, games: Games) -> None:
        self.games = games
        inputs, followed = live_inputs(games)
        followed = followed & live.live
        self.use_live = bool(followed.any())
        of_models = ((live, followed, inputs), (without, ~followed, None))
        self._parts = [(model, np.flatnonzero(rows), of_rows) for model, rows, of_rows in of_models if rows.any()]

    @classmethod
    def of_source(cls, calibration: LatticeCalibration, source: MarginSource, games: Games) -> Self:
        """Return the tables of a calibration for games whose expected margins are of one source."""
        return cls(calibration.model(source, live=True), calibration.model(source, live=False), games)

    def distribution(
        self, points: Floats, margins: Floats, horizon: int, minute: int
    ) -> tuple[Floats, LatticeDistribution]:
        """Return the point forecasts, (n,), and the distributions at a horizon, by its index, from a minute."""
        centers, mass = np.empty(len(self.games)), np.empty((len(self.games), len(VALUES)))
        for model, rows, inputs in self._parts:
            center, live = points[rows, minute - 1, horizon], None
            if inputs is not None:
                live = LiveColumns(*(each[rows, minute - 1] for each in inputs))
                center = center + model.shifts(HORIZONS[horizon], minute, live)
            leads, of_margins = self.games.levels[rows, minute - 1], np.nan_to_num(margins[rows])
            made = model.distribution(HORIZONS[horizon], minute, center, leads, of_margins, live)
            centers[rows], mass[rows] = center, made.mass
        return centers, LatticeDistribution(mass)


def fits_live_tables(games: Games) -> NDArray[np.bool_]:
    """Return which games tables with live inputs are fitted on, (n,); pace also needs the points at the end."""
    return live_inputs(games)[1] & (games.final_total >= 0)


def live_inputs(games: Games) -> tuple[LiveColumns, NDArray[np.bool_]]:
    """Return the live inputs that tables use, by minute, (n, 47) each, and which games have them in all minutes."""
    live = LiveColumns(*(games.live_column(name)[:, :MAX_SLOTS].astype(np.float64) for name in LiveColumns._fields))
    known = ~np.asarray(np.isnan(np.stack(live)).any(axis=(0, 2)))
    return live, known
