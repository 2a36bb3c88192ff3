"""A component of Dejavu's forecasts: gradient-boosted trees move and stretch the linear models' distribution.

One sum of trees predicts the mean of the standardised residual, another how large its square is beside the mean of its
minute (Friedman, Greedy function approximation: a gradient boosting machine, 2001). See docs/components.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.component import Component, TrainingGames
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions

TREES, DEPTH, RATE = 60, 3, 0.1
NODES = 2 ** (DEPTH + 1) - 1
COUNT = TREES * NODES
ROOTS = np.arange(0, COUNT, NODES)
EVERY = 3
"""Of the minutes of a game, every third is fitted to: neighbouring ones say almost the same."""

RECENT = 5
"""Minutes whose change of the lead is an input."""

INPUTS = 5
_TOTAL = LIVE_COLUMNS.index("total_points")


class Trees(NamedTuple):
    """Trees of regression, as arrays over the nodes of all, (COUNT,); a leaf is its own child.

    Attributes:
        feature, threshold: a row goes left if its feature is at most the threshold.
        left, right: the numbers of the children.
        value: what a leaf adds to the prediction.
    """

    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats

    @classmethod
    def fit(cls, inputs: NDArray[np.float32], targets: Floats, seed: int) -> Self:
        """Fit trees to targets, (n,); they predict 0 where they know nothing."""
        from sklearn.ensemble import GradientBoostingRegressor  # noqa: PLC0415 - a server needs no scikit-learn

        model = GradientBoostingRegressor(
            n_estimators=TREES,
            max_depth=DEPTH,
            learning_rate=RATE,
            subsample=0.3,
            min_samples_leaf=50,
            init="zero",
            random_state=seed,
        ).fit(inputs, targets)
        result = cls(*(np.zeros(COUNT, dtype) for dtype in (int, float, int, int, float)))
        result.left[:] = result.right[:] = np.arange(COUNT)
        for root, [fitted] in zip(ROOTS, model.estimators_, strict=True):
            tree, inner = fitted.tree_, np.flatnonzero(fitted.tree_.children_left >= 0)
            result.feature[root + inner] = tree.feature[inner]
            result.threshold[root + inner] = tree.threshold[inner]
            result.left[root + inner] = root + tree.children_left[inner]
            result.right[root + inner] = root + tree.children_right[inner]
            result.value[root : root + tree.node_count] = RATE * tree.value[:, 0, 0]
        return result

    def predict(self, inputs: NDArray[np.float32]) -> Floats:
        """Return the predictions for n rows, (n,)."""
        nodes = np.tile(ROOTS, (len(inputs), 1))
        for _ in range(DEPTH):
            goes_left = np.take_along_axis(inputs, self.feature[nodes], axis=1) <= self.threshold[nodes]
            nodes = np.where(goes_left, self.left[nodes], self.right[nodes])
        result: Floats = self.value[nodes].sum(axis=1)
        return result

    def check(self) -> None:
        """Raise a ValueError if these are no trees."""
        numbers, children = ("f", -1e6, 1e6), ("i", 0, COUNT)
        kinds = ("i", 0, INPUTS), numbers, children, children, numbers
        for (name, column), (kind, least, bound) in zip(self._asdict().items(), kinds, strict=True):
            if column.shape != (COUNT,) or column.dtype.kind != kind:
                raise ValueError(f"{name} is {column.dtype} of shape {column.shape}; expected {(COUNT,)}")
            if not ((column >= least) & (column < bound)).all():
                raise ValueError(f"{name} must be at least {least:g} and below {bound:g}")


def inputs_of(rows: Rows, horizon: Horizon) -> NDArray[np.float32]:
    """Return the inputs of n games, (n, INPUTS), float32 as the trees of scikit-learn are."""
    lead = rows.patterns[:, -1]
    before = rows.patterns[:, -1 - RECENT] if rows.minute > RECENT else np.zeros(len(lead))
    total = np.nan_to_num(rows.live[:, _TOTAL], nan=-1.0)
    columns = np.full(len(lead), rows.minute), np.full(len(lead), horizon.minutes), lead, lead - before, total
    return np.stack(columns, axis=1).astype(np.float32)


class Gbm(Component):
    """Gradient-boosted distribution.

    Args:
        means: trees of the mean, in units of the linear models' distribution.
        squares: trees of the squared residual relative to the mean of its minute, minus 1.
    """

    name = "gbm"
    inputs = ("total_points",)

    def __init__(self, means: Trees, squares: Trees) -> None:
        self.means, self.squares = means, squares

    @classmethod
    def fit(cls, games: TrainingGames, seed: int = 0) -> Self:
        """Fit the trees to games after every third minute, at both horizons."""
        cases = [(horizon, minute) for horizon in HORIZONS for minute in range(1, horizon.last_slot + 1, EVERY)]
        inputs = np.concatenate([inputs_of(games.rows(minute), horizon) for horizon, minute in cases])
        targets = np.stack([games.targets(*case) for case in cases])
        means = Trees.fit(inputs, targets.ravel(), seed)
        squares = np.square(targets - means.predict(inputs).reshape(targets.shape))
        squares /= squares.mean(axis=1, keepdims=True)
        return cls(means, Trees.fit(inputs, squares.ravel() - 1, seed))

    def distribution(self, rows: Rows, base: Base) -> Distributions:
        """Return the linear models' distribution, moved and stretched."""
        inputs = inputs_of(rows, base.horizon)
        moved = base.units * np.clip(self.means.predict(inputs), -1.0, 1.0)
        scales = np.sqrt(np.clip(1 + self.squares.predict(inputs), 0.5, 2.0))
        return Distributions(base.centers + moved, base.shares((base.distances - moved[:, None]) / scales[:, None]))

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the trees."""
        return {name: np.stack([getattr(self.means, name), getattr(self.squares, name)]) for name in Trees._fields}

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the component with these trees."""
        if any(arrays[name].ndim != 2 or len(arrays[name]) != 2 for name in Trees._fields):
            raise ValueError(f"{', '.join(Trees._fields)} must each be of two sums of trees")
        means, squares = (Trees(*(arrays[name][each] for name in Trees._fields)) for each in range(2))
        means.check()
        squares.check()
        return cls(means, squares)
