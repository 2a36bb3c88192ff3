"""Reliability: the observed rate of home leads against the forecast probability.

A forecast has the weight 1 / (minutes of its game with forecasts) / (forecasts of its minute), as in the expected
calibration error: each game has equal weight over all bins together, not in each bin that it visits. Otherwise
calibrated forecasts would look overconfident: of the games that are ever forecast at 90 %, the lost ones stay there
only briefly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.scorecard.estimates import wilson
from dejavu_models.scorecard.settled import SettledForecasts

RELIABILITY_BINS: Final = 10
"""Number of bins of equal width over [0, 1], each closed below; the last is closed on both sides."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The forecasts of a range of probabilities, and the observed rate of home leads after them.

    Attributes:
        from_probability, to_probability: the range.
        games: number of games with forecasts in it.
        forecasts: number of forecasts in it.
        mean_probability: weighted mean of their probabilities.
        rate: weighted share of them after which the home team led.
        lower, upper: 95 % Wilson interval of the rate, at the effective number of games.
    """

    from_probability: float
    to_probability: float
    games: int
    forecasts: int
    mean_probability: float
    rate: float
    lower: float
    upper: float


def reliability(settled: SettledForecasts, weight: Floats) -> tuple[ReliabilityBin, ...]:
    """Compute the bins of settled forecasts, ascending; empty bins are left out.

    Args:
        settled: n settled forecasts.
        weight: (n,), weight of each forecast, above 0.
    """
    bin_of = probability_bin(settled.probability, RELIABILITY_BINS)
    found = []
    for index in np.unique(bin_of).tolist():
        chosen = bin_of == index
        weights, led = weight[chosen], settled.home_led[chosen]
        total = float(weights.sum())
        rate = min(float(weights[led].sum()) / total, 1.0)
        _, game = np.unique(settled.game[chosen], return_inverse=True)
        of_games = np.bincount(game, weights=weights)
        # A game has one outcome, so its forecasts are one trial. Games differ in weight: Kish's effective sample size.
        lower, upper = wilson(rate, max(1.0, total**2 / float(np.square(of_games).sum())))
        found.append(
            ReliabilityBin(
                from_probability=index / RELIABILITY_BINS,
                to_probability=(index + 1) / RELIABILITY_BINS,
                games=len(of_games),
                forecasts=int(chosen.sum()),
                mean_probability=float((weights * settled.probability[chosen]).sum()) / total,
                rate=rate,
                lower=lower,
                upper=upper,
            )
        )
    return tuple(found)


def calibration_error(settled: SettledForecasts, weight: Floats) -> float:
    """Compute the expected calibration error (see `metrics.probability_bin`) with a weight for each forecast."""
    gaps = weight * (settled.probability - settled.home_led)
    sums = np.bincount(probability_bin(settled.probability), weights=gaps, minlength=ECE_BINS)
    return float(np.abs(sums).sum() / weight.sum())
