"""Distribution of one game at any second by the compiled models; the reference is `MomentModel.distribution`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dejavu_models.moments.model import SECONDS, MomentModel
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.game import LatticeGame, margin_constants


class MomentTables:
    """Tables of seconds in the compiled models.

    Args:
        model: the tables.
    """

    def __init__(self, model: MomentModel) -> None:
        self._games = model.games
        self._tables: dict[Horizon, Any] = {
            horizon: native.MomentTables(
                margin_constants(),
                seconds=[float(each) for each in SECONDS[horizon]],
                mass=model.mass[horizon].astype(np.float32),
                drift=model.drift,
                free_throw=model.free_throw,
                final=horizon is Horizon.FINAL,
            )
            for horizon in HORIZONS
        }

    def game(
        self,
        horizon: Horizon,
        seconds: float,
        lead: float,
        side: int,
        margin: float,
        *,
        in_air: bool,
        free_throws: int = 0,
    ) -> LatticeGame:
        """Return the distribution of one game; the arguments are those of `MomentInputs`."""
        compiled = self._tables[horizon].game(seconds, lead, side, in_air, free_throws, margin)
        return LatticeGame(self._games, compiled)
