"""Tables of how the lead changes until a horizon, by seconds left, lead and possession.

In the last minutes a distribution is uneven: possessions, free throws and fouls decide whether and by how much the lead
changes. The tables are smoothed frequencies of these changes in earlier games, from the side of the team with the ball.
The expected margin counts as points of lead, fewer with every second. An overtime has the tables of the last five
minutes of regulation, and a tie at its end leads to another one. Free throws to come are made or missed one by one:
after the last one the other team has the ball, or the shot is in the air.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from dejavu_feed.pattern import OVERTIME_SECONDS
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.calibration import LatticeGame, margin_constants

SECONDS: Final = {
    Horizon.HALFTIME: (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 30, 35, 40, 50, 60, 80, 100, 120),
    Horizon.FINAL: (
        *(0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 30, 35, 40, 50, 60),
        *(80, 100, 120, 150, 180, 210, 240, 270, OVERTIME_SECONDS),
    ),
}
"""Seconds left of which there are tables; between them, the probabilities are linear in time."""

STATES: Final = 3
"""States of the ball: a team has it, its shot is in the air, nothing is known."""
IN_AIR: Final = 1
NOT_KNOWN: Final = 2

MOST_LEAD: Final = 15
"""Greatest lead of which there are tables; those of greater leads change alike."""
MOST_CHANGE: Final = 25
"""Greatest change of the lead; greater ones count as this one."""
CHANGES: Final = np.arange(-MOST_CHANGE, MOST_CHANGE + 1)

MOST_DRIFT: Final = 0.01
"""Bound of the drift, per second: about thirty times what a game has on average (1/2880)."""

MOST_GAMES: Final = 2**31 - 1
"""Bound of the number of games, which messages have as int32."""

MOST_FREE_THROWS: Final = 3
"""Greatest number of free throws to come."""

MOST_TIES: Final = 0.5
"""Bound of the probability that an overtime ends with a tie."""

_SHAPES: Final = {
    horizon: (STATES, len(seconds), 2 * MOST_LEAD + 1, 2 * MOST_CHANGE + 1) for horizon, seconds in SECONDS.items()
}


@dataclass(frozen=True, eq=False)
class MomentModel:
    """Tables of both horizons.

    Attributes:
        mass: by horizon, (STATES, SECONDS, leads from −MOST_LEAD to MOST_LEAD, CHANGES), probabilities of the change of
            the lead until the horizon, from the side of the team with the ball, or of the home team if that is unknown.
        drift: points of lead that each point of the expected margin is worth, per second left.
        free_throw: probability to make a free throw.
        games: number of games behind the tables.

    Raises:
        ValueError: if a shape is wrong, or a row of probabilities is not one, or a number is out of its bounds.
    """

    mass: Mapping[Horizon, Floats]
    drift: float
    free_throw: float
    games: int

    def __post_init__(self) -> None:
        if not 0 <= self.drift <= MOST_DRIFT:
            raise ValueError(f"the drift is {self.drift}; expected 0 to {MOST_DRIFT:g}")
        if not 0 <= self.free_throw <= 1:
            raise ValueError(f"the probability to make a free throw is {self.free_throw}; expected 0 to 1")
        if not 1 <= self.games <= MOST_GAMES:
            raise ValueError(f"there are {self.games} games behind the tables; expected 1 to {MOST_GAMES}")
        for horizon in HORIZONS:
            mass = self.mass[horizon]
            if mass.shape != _SHAPES[horizon]:
                raise ValueError(f"tables of {horizon.value} have the shape {mass.shape}")
            if not (mass >= 0).all() or not np.allclose(mass.sum(axis=-1), 1.0, atol=1e-3):  # NaN is not ≥ 0
                raise ValueError(f"probabilities of {horizon.value} are negative, or do not sum to 1")
            # A margin counts as points of lead, so the overtimes of a favorite begin in the row of another lead.
            # A greater lead than MOST_LEAD changes like it.
            leads = np.arange(-MOST_CHANGE, MOST_CHANGE + 1)
            rows = np.clip(leads, -MOST_LEAD, MOST_LEAD) + MOST_LEAD
            if not (mass[NOT_KNOWN, -1, rows, MOST_CHANGE - leads] < MOST_TIES).all():
                raise ValueError(f"of overtimes of {horizon.value}, {MOST_TIES:.0%} or more are tied")

    @cached_property
    def compiled(self) -> Mapping[Horizon, Any]:
        """The tables in the compiled models, by horizon."""
        return {
            horizon: native.MomentTables(
                margin_constants(),
                seconds=[float(each) for each in SECONDS[horizon]],
                mass=self.mass[horizon].astype(np.float32),
                drift=self.drift,
                free_throw=self.free_throw,
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
        """Return the distribution of the differential of one game at a horizon; that of the end of a game is never 0.

        Args:
            horizon: the horizon.
            seconds: seconds left until the horizon, or until the end of the overtime; at most the last of SECONDS.
            lead: differential, whole points.
            side: 1 if the home team has the ball, −1 the away team, 0 unknown.
            margin: expected final differential before tip-off, in points; 0 if unknown.
            in_air: whether a shot of that team is in the air.
            free_throws: free throws that it has before the clock runs again, at most MOST_FREE_THROWS.
        """
        return LatticeGame(self.games, self.compiled[horizon].game(seconds, lead, side, in_air, free_throws, margin))

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal tables give equal bytes. Tables are stored as float32."""
        mass = {horizon.value: self.mass[horizon].astype(np.float32) for horizon in HORIZONS}
        numbers = {"drift": np.array(self.drift), "free_throw": np.array(self.free_throw)}
        return to_npz(games=np.array(self.games, dtype=np.int32), **numbers, **mass)

    @classmethod
    def from_bytes(cls, content: bytes) -> MomentModel:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        mass = {horizon: columns[horizon.value].astype(np.float64) for horizon in HORIZONS}
        return cls(mass, float(columns["drift"]), float(columns["free_throw"]), int(columns["games"]))
