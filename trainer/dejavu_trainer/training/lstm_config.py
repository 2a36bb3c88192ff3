"""Inputs and result of an LSTM fit. Unlike lstm.py, does not import torch, which takes seconds to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from dejavu_models.arrays import Floats, Singles, from_npz, to_npz
from dejavu_models.errors import DejavuError


class FitError(DejavuError):
    """A fit has failed or its result is unusable."""


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
        """Number of steps that `fit_lstm` reports: epochs of all members."""
        return self.members * self.epochs


@dataclass(frozen=True, slots=True)
class LstmExamples:
    """Training games.

    Attributes:
        levels: (n, 47), differentials after each minute, in points.
        margins: (n,), expected final differentials before the game, in points; finite.
        live: (n, 47, 5), live features; see `dejavu_models.components.features.live_features`.
        residuals: (2 margin sources, 2, n, 47, 2 horizons), standardised residuals of models that have not seen the
            game's season, without and with live inputs; 0 for a horizon that has passed.
        mean_totals: (48,), mean total points after minutes 0 to 47.
    """

    levels: Floats
    margins: Floats
    live: Singles
    residuals: Floats
    mean_totals: Floats


@dataclass(frozen=True, slots=True)
class TrainedLstm:
    """The fitted LSTM.

    Attributes:
        content: its weights, see `dejavu_models.components.lstm.weights_to_bytes`.
        parity: largest difference of an output between torch and the compiled models on the games.
    """

    content: bytes
    parity: float

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file."""
        return to_npz(content=np.frombuffer(self.content, np.uint8), parity=np.array(self.parity))

    @classmethod
    def from_bytes(cls, content: bytes) -> TrainedLstm:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        return cls(columns["content"].tobytes(), float(columns["parity"]))
