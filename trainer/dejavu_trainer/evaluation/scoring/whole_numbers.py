"""Scores of distributions on whole numbers, of differentials and of totals."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS


class WholeNumberScores:
    """Scores of the forecasts of n games, case by case.

    An interval with whole ends covers more than its level, by a part of the probability of its ends. Coverage is
    therefore computed from the randomised probability integral transform, which is uniform if the forecast is right
    (Czado, Gneiting & Held, Predictive model assessment for count data, 2009): an outcome at an end counts as covered
    with the share of its probability that the level needs. The random places are the same in every run.

    Args:
        games: n.
        seed: seed of the random places within whole numbers.

    Attributes:
        point, crps: (n, cases), in points.
        pit: (n, cases), randomised.
        lower, upper: (n, cases, alphas), ends of the intervals, whole numbers.
        held: (n, cases, alphas), whether the outcome counts as within.
    """

    def __init__(self, games: int, seed: int) -> None:
        shape = (games, len(CASES))
        self._places = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
        self.point, self.crps, self.pit = (np.empty(shape, dtype=np.float32) for _ in range(3))
        self.lower, self.upper = (np.empty((*shape, len(ALPHAS)), dtype=np.float32) for _ in range(2))
        self.held = np.empty((*shape, len(ALPHAS)), dtype=np.bool_)

    def score(self, column: int, point: Floats, made: WholeNumberDistribution, outcomes: Floats) -> None:
        """Score one case.

        Args:
            column: index of the case in CASES.
            point: (n,), point forecasts, in points.
            made: the distributions of the n games.
            outcomes: (n,), whole numbers.
        """
        self.point[:, column] = point
        self.crps[:, column] = made.crps(outcomes)
        transform = made.pit(outcomes, self._places[:, column])
        self.pit[:, column] = transform
        for number, alpha in enumerate(ALPHAS):
            self.lower[:, column, number], self.upper[:, column, number] = made.intervals(alpha)
            self.held[:, column, number] = (alpha / 2 < transform) & (transform <= 1 - alpha / 2)
