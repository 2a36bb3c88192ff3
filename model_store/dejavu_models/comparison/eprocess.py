"""E-processes: evidence about a mean that can be examined after every game.

An e-process for a hypothesis is a sequence of values, at least 0, whose expectation is at most 1 at any stopping time
if the hypothesis holds. By Ville's inequality, the probability that it ever reaches 20 is then at most 1/20, however
often it is examined and whatever is decided from it (Ramdas, Grünwald, Vovk & Shafer, Game-theoretic statistics and
safe anytime-valid inference, Statistical Science 38, 2023).

This one is a bet. A gambler with a capital of 1 stakes a share of the capital on each game; after game t the capital is
Π (1 + λᵢ yᵢ), i ≤ t, with yᵢ at least −1/λᵢ (a betting martingale: Waudby-Smith & Ramdas, Estimating means of bounded
random variables by betting, JRSS B 86, 2024). The best λ depends on the unknown mean and variance, so the capital is
divided between a large and a small stake, which are bet separately.

The hypothesis is about averages: *the average of the conditional means μ₁ … μₜ of y₁ … yₜ, each given the knowledge
before its game, is not above 0 after any game t*. A single conditional mean may be above 0 in some games and below in
others, as with a model that is much worse in few games (the weak null: Choe & Ramdas, Comparing sequential forecasters,
Operations Research 72, 2024, arXiv 2110.00115). Stakes that rise and fall with the data would weight the games: if they
were large where models agree and small where they differ, they would hide the losses where they differ. Stakes that
only fall do not: with λ₁ ≥ λ₂ ≥ … and all sums Sᵢ = μ₁ + … + μᵢ ≤ 0,

    Σ λᵢ μᵢ = λₜ Sₜ + Σ (λᵢ − λᵢ₊₁) Sᵢ ≤ 0,

and Π (1 + λᵢ yᵢ) / (1 + λᵢ μᵢ) is a martingale, with Π (1 + λᵢ μᵢ) ≤ exp(Σ λᵢ μᵢ) ≤ 1.

A stake requires a bound of a game's loss. A bound for the worst possible game would allow no useful stake. So
differences are clipped to a bound that is known before the game and grows with the data: the fifth largest difference
so far. The bound never falls, so stakes, which are shares of the greatest allowed stake, never rise. A large difference
counts in full from the sixth one of its size on; in all, clipping removes less than the sum of the five largest
differences. This loses evidence about events as rare as one game in fifty, about which a few games say little anyway.
"""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats

STAKES: Final = (0.5, 0.2)
"""Shares of the largest stake that cannot lose more than the capital."""

WEIGHTS: Final = (0.5, 0.5)
"""Share of the capital given to each stake, in all 1."""

LARGEST: Final = 5
"""Differences are clipped to the fifth largest so far. With a smaller number, single games would set the stakes for a
season; with a larger one, more of the first large differences would be lost."""


def clipping_bounds(differences: Floats, smallest: float) -> Floats:
    """Return the bound of each difference, derived from the differences before it; the bounds never fall.

    Args:
        differences: (n,), in order.
        smallest: bound of the first, above 0.

    Returns:
        (n,), before each difference, the fifth largest (LARGEST) absolute difference so far, at least `smallest`.
    """
    largest = [smallest] * LARGEST  # a heap
    bounds = np.empty(len(differences))
    for index, size in enumerate(np.abs(differences).tolist()):
        bounds[index] = largest[0]
        if size > largest[0]:
            heapq.heapreplace(largest, size)
    return bounds


def log_e_process(gains: Floats, largest_losses: Floats) -> Floats:
    """Compute the e-process for the hypothesis that gains are not above 0 on average; see the module.

    Args:
        gains: (n,), in order, each at least −largest_loss.
        largest_losses: (n,), bound of the loss of each game, above 0, known before the game; the bounds never fall.

    Returns:
        (n,), natural logarithms of the e-values after each gain.

    Raises:
        ValueError: if a gain is not a number or below its bound, or a bound falls.
    """
    if not np.all(gains >= -largest_losses * (1.0 + 1e-9)):
        raise ValueError("a loss is larger than its bound")
    if not (np.all(largest_losses > 0.0) and np.all(np.diff(largest_losses) >= 0.0)):
        raise ValueError("a bound is not above 0, or falls")
    stakes = np.array(STAKES)[:, None] / largest_losses
    capital = np.log(np.array(WEIGHTS))[:, None] + np.cumsum(np.log1p(stakes * gains), axis=1)
    result: Floats = np.logaddexp.reduce(capital, axis=0)
    return result


def below_zero(differences: Floats, bound: float) -> Floats:
    """Compute the evidence that differences are below 0 on average.

    It is evidence against the hypothesis that the conditional means of the clipped differences, each given the
    knowledge before its game, are on average at least 0.

    Args:
        differences: (n,), one per game, in the order in which games ended.
        bound: clipping bound of the first difference, fixed before it; see `clipping_bounds`.

    Returns:
        (n,), natural logarithms of the e-values after each game.

    Raises:
        ValueError: if a difference is not a number.
    """
    bounds = clipping_bounds(differences, bound)
    return log_e_process(-np.clip(differences, -bounds, bounds), bounds)
