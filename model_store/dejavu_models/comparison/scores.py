"""Compares two models by their scores on exactly the same forecasts.

The game is the unit: a score of a game is the mean over its equally weighted minutes, and the differences of games are
tested in the order of their settlement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.comparison import eprocess
from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate, Units, coverages, estimate

CRPS_BOUND: Final = 0.3
BRIER_BOUND: Final = 0.015
"""Clipping bounds of the first games' differences, in points of CRPS and in Brier score; they grow with the observed
ones (`eprocess`).

With smaller bounds, evidence grows faster if models differ little, but more of the first differences is lost if models
differ much.
"""

_MAX_LOG: Final = 600.0
"""Natural logarithm of the largest e-value that is returned: the largest float is exp(709)."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedForecasts:
    """Forecasts of two models of the same games and minutes, settled: arrays of equal length, one value per pair.

    Attributes:
        game: integer id of the game, equal exactly for forecasts of one game, ascending in the order in which games
            were settled.
        minute: elapsed minutes at the forecast, 1 to 47.
        alpha: miscoverage rate of the intervals.
        crps, against_crps: scores of the model and of the other, in points.
        brier, against_brier: Brier scores of the two.
        crps_divergence, brier_divergence: differences of the scores to expect if the other model's probabilities are
            right; see `metrics.cramer_distance`.
        covered, width: whether the outcome lay in the interval of the model, and its width in points.
    """

    game: NDArray[np.int64]
    minute: NDArray[np.int64]
    alpha: Floats
    crps: Floats
    against_crps: Floats
    brier: Floats
    against_brier: Floats
    crps_divergence: Floats
    brier_divergence: Floats
    covered: NDArray[np.bool_]
    width: Floats

    def __len__(self) -> int:
        return len(self.game)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreComparison:
    """Two models compared by one score, in the unit of the score.

    Attributes:
        score, against_score: mean over games of the model's score and of the other's.
        difference: mean difference per game, model − other, with Student's interval.
        divergence: mean over games of the model's divergence from the other.
        margin: the most that the model may be worse.
        not_worse, worse: (games,), after each game, the e-value of the statement that the model is worse by less than
            the margin, and of the statement that it is worse by more; see `eprocess`.
    """

    score: float
    against_score: float
    difference: ScoreEstimate
    divergence: float
    margin: float
    not_worse: Floats
    worse: Floats

    @property
    def not_worse_e_value(self) -> float:
        """E-value, after the last game, of the statement that the model is worse by less than the margin."""
        return float(self.not_worse[-1])

    @property
    def worse_e_value(self) -> float:
        """E-value, after the last game, of the statement that the model is worse by more than the margin."""
        return float(self.worse[-1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models compared on the same games and minutes: at least one game.

    Attributes:
        games, forecasts: number of games, and of forecasts of each model.
        coverage: of the model's intervals, by alpha, ascending.
    """

    games: int
    forecasts: int
    crps: ScoreComparison
    brier: ScoreComparison
    coverage: tuple[Coverage, ...]

    @property
    def usual_coverage(self) -> Coverage:
        """Coverage of the alpha with the most forecasts; in case of a tie, of the smallest alpha."""
        return max(self.coverage, key=lambda each: each.forecasts)


def compare(pairs: PairedForecasts, margin: float) -> Comparison | None:
    """Compare two models; None without pairs.

    Args:
        pairs: their forecasts.
        margin: the most that the model may be worse, as a share of the other's score; fixed before the first game.
    """
    if not len(pairs):
        return None
    units = Units.of(pairs.game, pairs.minute)

    def compared(name: str, bound: float, most: float) -> ScoreComparison:
        columns = (getattr(pairs, each) for each in (name, f"against_{name}", f"{name}_divergence"))
        scores, against, divergence = map(units.means, columns)
        excess = scores - (1.0 + margin) * against  # below 0 on average: worse by less than the margin
        not_worse, worse = (
            np.exp(np.minimum(eprocess.below_zero(each, bound), _MAX_LOG)) for each in (excess, -excess)
        )
        return ScoreComparison(
            score=float(scores.mean()),
            against_score=float(against.mean()),
            difference=estimate(scores - against, -most, most),
            divergence=float(divergence.mean()),
            margin=margin * float(against.mean()),
            not_worse=not_worse,
            worse=worse,
        )

    return Comparison(
        games=len(units.minutes),
        forecasts=len(pairs),
        crps=compared("crps", CRPS_BOUND, math.inf),
        brier=compared("brier", BRIER_BOUND, 1.0),
        coverage=tuple(coverages(pairs.alpha, pairs.game, pairs.minute, pairs.covered, pairs.width)),
    )
