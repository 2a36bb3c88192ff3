"""A component of Dejavu: gradient-boosted trees of scikit-learn, one ensemble per horizon.

skl2onnx writes them as one operator of ai.onnx.ml for each ensemble. (Its converter of HistGradientBoostingRegressor
does not work with protobuf 7.)
"""

from __future__ import annotations

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.multioutput import MultiOutputRegressor

from dejavu_models.arrays import Floats, Singles
from dejavu_models.point.rows import INPUT, ROW_COLUMNS
from dejavu_trainer.training.components import ComponentGames

ROWS = 20_000
"""Most rows to fit to: random games after random minutes. Rows of one game are alike, so more of them help little."""

OPERATORS = {"": 18, "ai.onnx.ml": 3}
"""Versions of the sets of operators."""


class Boosted:
    """Fits trees to the corrections of the linear models.

    Args:
        trees: number of trees of an ensemble.
        depth: their depth.
    """

    def __init__(self, trees: int = 60, depth: int = 3) -> None:
        self._trees = trees
        self._depth = depth

    def fit(self, games: ComponentGames, seed: int) -> FittedTrees:
        """Fit the trees; the same games and seed give the same trees."""
        rows, corrections = games.sample(min(ROWS, 10 * len(games)), seed)
        trees = GradientBoostingRegressor(
            n_estimators=self._trees,
            learning_rate=0.05,
            max_depth=self._depth,
            max_features=0.3,
            min_samples_leaf=50,
            subsample=0.5,
            random_state=seed,
        )
        return FittedTrees(MultiOutputRegressor(trees).fit(rows, corrections))


class FittedTrees:
    """Fitted trees; see `dejavu_trainer.training.components.FittedComponent`."""

    def __init__(self, trees: MultiOutputRegressor) -> None:
        self._trees = trees

    def predict(self, rows: Singles) -> Floats:
        """Return the corrections of rows, (n, 2), in points."""
        return np.asarray(self._trees.predict(rows), dtype=np.float64)

    def to_onnx(self) -> bytes:
        """Return the trees as an ONNX graph."""
        ends = [(INPUT, FloatTensorType([None, ROW_COLUMNS]))]
        content: bytes = to_onnx(self._trees, initial_types=ends, target_opset=OPERATORS).SerializeToString()
        return content
