"""What a component of the ensemble is: one class that is fitted to past games and predicts distributions of others.

The linear models are always there; a forecast is a pool of their distribution and those of the components. `dejavu` and
`lstm` ship. A third one is a class of another package, which names it in its entry points: docs/components.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.features import LIVE_COLUMNS, PATH, Rows
from dejavu_models.types import MAX_SLOTS, ROWS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import EDGES
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions

MAX_GROUPS: Final = 20_000
MAX_NEAREST: Final = 400
"""Maximum number of groups of a forecast; recipes have 200. The time of a search grows faster than this number."""


@dataclass(frozen=True, slots=True)
class DejavuConfig:
    """Settings of the database, selected on the seasons 2018 and 2019.

    Attributes:
        groups: number of groups of a minute, at most the number of games.
        nearest: number of groups that a forecast is made of.
        lead, path, margin, total: weights of the features in the distance: the lead, its changes, the expected margin,
            the points of both teams.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    groups: Annotated[int, Field(ge=1, le=MAX_GROUPS)] = 1500
    nearest: Annotated[int, Field(ge=1, le=MAX_NEAREST)] = 200
    lead: Annotated[float, Field(ge=0, le=100)] = 1.0
    path: Annotated[float, Field(ge=0, le=100)] = 0.5
    margin: Annotated[float, Field(ge=0, le=100)] = 1.0
    total: Annotated[float, Field(ge=0, le=100)] = 0.1

    @property
    def weights(self) -> Floats:
        """(48, FEATURES), weights of the features by minute."""
        return np.tile([self.lead, *[self.path] * len(PATH), self.margin, self.total], (MAX_SLOTS + 1, 1))


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """Hyperparameters of the LSTM, selected on the seasons up to 2018.

    Attributes:
        hidden: units of the layer.
        members: number of networks with different seeds, whose predictions are averaged.
        batch: games per step.
        epochs: passes over the games. With the running mean, errors on later seasons decreased to the end, while early
            stopping on a few hundred held-out games was dominated by noise.
        learning_rate, weight_decay: settings of AdamW (Loshchilov & Hutter, 2019).
        known_share: share of the games of an epoch that are shown with their expected margin; the same share of them is
            shown with their live inputs.
        memory: time constant of the running mean of the weights, in steps.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    hidden: Annotated[int, Field(ge=1, le=1024)] = 32
    members: Annotated[int, Field(ge=1, le=100)] = 1
    batch: Annotated[int, Field(ge=1)] = 128
    epochs: Annotated[int, Field(ge=1)] = 40
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 1e-2
    known_share: Annotated[float, Field(ge=0, le=1)] = 2 / 3
    memory: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 100.0

    @property
    def steps(self) -> int:
        """Number of steps that a fit reports: epochs of all members."""
        return self.members * self.epochs


Advance = Callable[[int], object]
"""Called with the number of steps of a fit that were just completed."""

_ROUNDING: Final = 1e-9


def ignore(_: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class TrainingGames:
    """n past games to fit a component to, in the order of their dates.

    Attributes:
        home, away: (n,), NBA codes.
        date: (n,), local dates, datetime64[D].
        differentials: (n, 48), home − away after minutes 1 to 48, in points.
        outcomes: (n, 2), differentials at the half and at the end, in points.
        totals: (n, 48), points of both teams, int16; −1 where unknown.
        final_total: (n,), int16; −1 where unknown.
        margins: (n,), expected final differentials before the game, in points; finite.
        live: (n, 47, 5), LIVE_COLUMNS after minutes 1 to 47; NaN where unknown.
        residuals: (2, 2, n, cases), outcomes minus forecasts by linear models that have not seen the season of the
            game, over their `Base.units`; without and with the margin, without and with live inputs.
    """

    home: NDArray[np.str_]
    away: NDArray[np.str_]
    date: NDArray[np.datetime64]
    differentials: NDArray[np.int16]
    outcomes: Floats
    totals: NDArray[np.int16]
    final_total: NDArray[np.int16]
    margins: Floats
    live: Floats
    residuals: Floats

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def levels(self) -> Floats:
        """(n, 47), differentials after minutes 1 to 47, in points."""
        return self.differentials[:, :MAX_SLOTS].astype(np.float64)

    def rows(self, minute: int) -> Rows:
        """Return the games as they were after a minute, with all inputs."""
        return Rows(self.levels[:, :minute], self.margins, self.live[:, minute - 1])

    def targets(self, horizon: Horizon, minute: int) -> Floats:
        """Return the residuals after a minute with all inputs, (n,)."""
        residuals: Floats = self.residuals[MarginSource.KNOWN, 1, :, ROWS[horizon, minute]]
        return residuals


class Component(ABC):
    """A component of the ensemble.

    Attributes:
        name: its name in recipes, bundles and explanations, such as "gbm".
        inputs: those of LIVE_COLUMNS that it reads, beside pattern and expected margin.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if unknown := set(cls.inputs) - set(LIVE_COLUMNS):
            raise TypeError(f"{cls.__name__}.inputs: {min(unknown)}; expected some of {', '.join(LIVE_COLUMNS)}")

    @classmethod
    @abstractmethod
    def fit(cls, games: TrainingGames, seed: int = 0) -> Self:
        """Fit the component; the same games and seed must give the same component.

        Args:
            games: games of the training seasons. Those that judge it are later.
            seed: random seed, at least 0.
        """

    @abstractmethod
    def distribution(self, rows: Rows, base: Base) -> Distributions:
        """Predict n games after the same minute.

        Args:
            rows: the games.
            base: what the linear models predict for them at the horizon `base.horizon`.

        Returns:
            Points and probabilities; those of a game must not depend on the other games.
        """

    @abstractmethod
    def save(self) -> dict[str, NDArray[Any]]:
        """Return all that `load` needs, as arrays of numbers, texts or dates by name."""

    @classmethod
    @abstractmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the component that `save` returned these arrays of.

        A bundle is untrusted data: check each array.

        Raises:
            ValueError, KeyError: if the arrays are invalid; the message names the array.
        """

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal components give equal bytes."""
        return to_npz(**self.save())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is invalid; the message names the array.
        """
        return cls.load(from_npz(content))


def checked(component: Component, rows: Rows, base: Base) -> Distributions:
    """Return the prediction of a component.

    Raises:
        ValueError: if it is no prediction of these games; the message names the component.
    """
    points, below = made = component.distribution(rows, base)
    count = len(rows.patterns)
    if points.shape != (count,) or not np.isfinite(points).all():
        raise ValueError(f"component {component.name}: points must be ({count},) and finite")
    steps = np.diff(below, axis=-1, prepend=0.0, append=1.0)
    if below.shape != (count, len(EDGES)) or not (steps >= -_ROUNDING).all():  # NaN fails too
        raise ValueError(f"component {component.name}: below must be ({count}, {len(EDGES)}), ascending within 0 to 1")
    return made
