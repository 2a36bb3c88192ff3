"""Models that add nothing to the linear ones: fast to build, with forecasts that can be computed by hand."""

from __future__ import annotations

import numpy as np

from dejavu_models.components.dejavu import Dejavu, DejavuSettings, Entries, Kernel
from dejavu_models.components.features import STEP_CHANNELS
from dejavu_models.components.index import BruteForceIndex
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.components.models import PointModels
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS


class SilentLstm(Lstm):
    """An LSTM that always outputs 0."""

    def __init__(self) -> None:
        weights = {
            "scale": np.ones(STEP_CHANNELS),
            "input": np.zeros((4, STEP_CHANNELS)),
            "recurrent": np.zeros((4, 1)),
            "bias": np.zeros(4),
            "head": np.zeros((1, len(HORIZONS))),
            "head_bias": np.zeros(len(HORIZONS)),
            "spreads": np.zeros((MAX_SLOTS, len(HORIZONS))),
        }
        single = {name: values.astype(np.float32) for name, values in weights.items()}
        self.networks = [native.LstmNetwork(**single)]
        self._run = native.Networks(self.networks).run


def plain_models(linear: LinearModels) -> PointModels:
    """Return the linear models, with a database of two entries a minute with zero residuals."""
    nothing = np.zeros((2, 2), dtype=np.float32)
    entries = Entries(
        home=np.array(["BOS", "BKN"]),
        away=np.array(["LAL", "GSW"]),
        date=np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
        games=np.ones(2, dtype=np.int32),
        increments=nothing,
        spreads=nothing,
        residuals=np.zeros((2, len(MARGIN_SOURCES), len(HORIZONS)), dtype=np.float32),
    )
    settings = DejavuSettings(recency=6.0, neighbours=2, kernel=Kernel.UNIFORM)
    rng = np.random.default_rng(0)
    minutes = {
        minute: Dejavu(BruteForceIndex(rng.normal(size=(2, minute)).astype(np.float32)), entries, settings)
        for minute in range(1, MAX_SLOTS + 1)
    }
    return PointModels(linear, SilentLstm(), minutes)
