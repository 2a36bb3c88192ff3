"""Settings of the components that ship, with which they are fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import ConfigDict, Field

from dejavu_models.arrays import Floats
from dejavu_models.components.features import PATH
from dejavu_models.types import MAX_SLOTS

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
