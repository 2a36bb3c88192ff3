"""Models that add nothing to the linear ones: fast to build, with forecasts that can be computed by hand."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from dejavu_models.point import features
from dejavu_models.point.dejavu import Dejavu, DejavuSettings, Entries, Kernel
from dejavu_models.point.ensemble import EnsembleWeights, PointEnsemble
from dejavu_models.point.index import BruteForceIndex
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import INPUT, OUTPUT, Lstm
from dejavu_models.types import CASES, HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_trainer.training.calibrate import point_forecasts
from dejavu_trainer.training.ratings import RatedGames


def silent_lstm() -> Lstm:
    """Returns an LSTM graph that always outputs 0."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", [INPUT, "axes"], ["summed"], keepdims=1),
            helper.make_node("Mul", ["summed", "zeros"], [OUTPUT]),
        ],
        "silent",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", "minutes", features.STEP_CHANNELS])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", "minutes", len(HORIZONS)])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [2]),
            helper.make_tensor("zeros", TensorProto.FLOAT, [len(HORIZONS)], [0.0] * len(HORIZONS)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Lstm(model.SerializeToString())


def plain_models(linear: LinearModels) -> PointEnsemble:
    """Returns the linear models, with a database of two entries a minute with zero residuals."""
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
    shape = (len(HORIZONS), MAX_SLOTS + 1)
    return PointEnsemble(linear, silent_lstm(), minutes, EnsembleWeights(np.full(shape, 0.5), np.ones(shape)))


def plain_calibration(models: PointEnsemble, rated: RatedGames, min_cell: int) -> Calibration:
    """Calibrates `plain_models` on their residuals."""
    distributions = {}
    leads, outcomes = rated.games.levels, rated.games.outcomes
    for mode in MarginSource:
        # Frozen ratings give half the margin, like frozen_margins in `folds`.
        margins = {
            MarginSource.UNKNOWN: np.full(len(leads), np.nan),
            MarginSource.KNOWN: rated.margins,
            MarginSource.RATED: rated.margins / 2,
        }[mode]
        points = point_forecasts(models, RatedGames(rated.games, margins))["linear"]
        for index, minute in CASES:
            horizon, point = HORIZONS[index], points[:, minute - 1, index]
            distributions[Situation(horizon, minute, mode)] = PredictiveDistribution.fit(
                horizon,
                point,
                leads[:, minute - 1],
                outcomes[:, index].astype(np.float64),
                min_cell=min_cell,
            )
    return Calibration(distributions)
