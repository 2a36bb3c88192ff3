"""E-processes: evidence about a mean that may be looked at after every game.

An e-process for a hypothesis is a sequence of values, at least 0, whose expectation is at most 1 at any stopping time
if the hypothesis holds. By Ville's inequality it ever reaches 20 with a probability of at most 1/20, however often and
whenever somebody looks, and whatever he decides from what he sees (Ramdas, Grünwald, Vovk & Shafer, Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38, 2023).

The one here is a bet. A gambler with a capital of 1 stakes the same share of his capital on each game; after game t he
has Π (1 + λ yᵢ), i ≤ t, with yᵢ at least −1/λ (a betting martingale: Waudby-Smith & Ramdas, Estimating means of bounded
random variables by betting, JRSS B 86, 2024). The best λ depends on mean and variance, which nobody knows beforehand:
the capital is divided among several λ from large to small, each bet for itself.

No λ depends on games. That is why the hypothesis may be about averages: *after no game t is the average of the
conditional means of y₁ … yₜ, each given what was known before its game, above 0*. It may be above 0 in some games and
below in others, as with a model that is worse in few games by much (Choe & Ramdas, Comparing sequential forecasters,
Operations Research 72, 2024, arXiv 2110.00115, call this the weak null). For μᵢ these means, Π (1 + λ yᵢ) / (1 + λ μᵢ)
is a martingale, and Π (1 + λ μᵢ) ≤ exp(λ Σ μᵢ) ≤ 1. By Fan's inequality, 1 + x ≥ exp(x + x² (ln(1 − c) + c) / c²) for
x ≥ −c, the bet is never less than the sub-exponential e-process of that paper with the same λ, centred at 0. Stakes
that follow the data would be larger where models agree and smaller where they differ, and would show a model to be
no worse that loses in the latter.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu_models.arrays import Floats

STAKES: Final = tuple(0.9 * 0.5**step for step in range(6))
"""Shares of the largest stake that cannot lose more than the capital."""

WEIGHTS: Final = tuple(1.0 / (step + 1) / sum(1.0 / each for each in range(1, 7)) for step in range(6))
"""Share of the capital given to each stake, in all 1: more to the larger ones, which decide early."""


def log_e_process(gains: Floats, largest_loss: float) -> Floats:
    """Computes the e-process for the hypothesis that gains are not above 0 on average; see the module.

    Args:
        gains: (n,), in order, each at least −largest_loss.
        largest_loss: bound of a loss, above 0, fixed before the first gain.

    Returns:
        (n,), natural logarithms of the e-values after each gain.

    Raises:
        ValueError: if a gain is not a number or below −largest_loss.
    """
    if not (largest_loss > 0.0 and np.all(gains >= -largest_loss * (1.0 + 1e-9))):
        raise ValueError(f"a loss is larger than {largest_loss}")
    stakes = np.array(STAKES)[:, None] / largest_loss
    capital = np.log(np.array(WEIGHTS))[:, None] + np.cumsum(np.log1p(stakes * gains[None, :]), axis=1)
    result: Floats = np.logaddexp.reduce(capital, axis=0)
    return result


def not_worse(differences: Floats, margin: float, bound: float) -> Floats:
    """Computes the evidence that a model is worse than another by less than a margin.

    The hypothesis that it speaks against: the average over the games so far of the expected difference, given what was
    known before each game, is at least the margin.

    Args:
        differences: (n,), score of the model − score of the other of each game, in the order in which games ended;
            lower scores are better. Those beyond ±bound are clipped to it, so that the statement is about the mean of
            the clipped differences: a game in which a model is worse by more than the bound counts as one by the bound.
        margin: by how much it may be worse, at least 0 and less than the bound.
        bound: bound of a difference, fixed before the first game.

    Returns:
        (n,), natural logarithms of the e-values after each game.
    """
    return log_e_process(margin - np.clip(differences, -bound, bound), bound - margin)


def worse(differences: Floats, margin: float, bound: float) -> Floats:
    """Computes the evidence that a model is worse than another by more than a margin; as `not_worse`.

    The hypothesis that it speaks against: that average is at most the margin.
    """
    return log_e_process(np.clip(differences, -bound, bound) - margin, bound + margin)
