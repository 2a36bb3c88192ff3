"""Tests whether newer games differ from those that a model was made from.

A game is one observation: its minutes are dependent. Only differentials are compared, which every game has; a ledger
has points only where callers sent them. Each quantity has one value per game; its means are compared by Welch's test
(Biometrika 34, 1947), which assumes no equal variances. For spreads, the value is the distance from the median of its
group, which makes it the test of Brown and Forsythe (JASA 69, 1974). Any of the tests can raise an alarm, so their
p-values are corrected by the method of Holm (Scandinavian Journal of Statistics 6, 1979).

With thousands of games an irrelevant difference is significant. So an alarm also requires an effect: a difference of
the means of at least 0.2 standard deviations, which Cohen (Statistical Power Analysis, 1988) calls small.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_trainer.data.games import Games

LEVEL: Final = 0.01
"""Maximum probability of any alarm in one comparison if nothing has changed; over comparisons it adds up
(docs/training.md)."""

SMALLEST_EFFECT: Final = 0.2
"""Minimum difference of the means for an alarm, in standard deviations."""

MIN_GAMES: Final = 100
"""Minimum number of games on each side of a comparison."""


def quantities(games: Games) -> dict[str, Floats]:
    """Return the compared quantities of n games, (n,) each, in points or minutes.

    Scoring is the number of points that moved the differential, over all minutes (for each minute, the fewest that
    explain the change), pace the number of minutes in which it changes, home edge the final differential, and a spread
    the distance of a differential from its median.
    """
    differentials = games.differentials.astype(np.float64)
    minutes = np.diff(differentials, axis=1, prepend=0.0)
    halftime, final = differentials[:, Horizon.HALFTIME.minutes - 1], games.final.astype(np.float64)
    return {
        "scoring": np.abs(minutes).sum(axis=1),
        "pace": (minutes != 0).sum(axis=1).astype(np.float64),
        "home edge": final,
        "spread at the half": np.abs(halftime - np.median(halftime)),
        "spread at the end": np.abs(final - np.median(final)),
    }


@dataclass(frozen=True, slots=True)
class Drift:
    """Difference of a quantity between older and newer games.

    Attributes:
        quantity: one of `quantities`.
        before, after: its means.
        effect: their difference, after − before, in standard deviations of a game (root of the mean variance).
        p_value: of Welch's test, corrected for the number of quantities.
        alarm: whether it is both significant and not negligible.
    """

    quantity: str
    before: float
    after: float
    effect: float
    p_value: float
    alarm: bool

    def __str__(self) -> str:
        return (
            f"{self.quantity} {self.before:.2f} → {self.after:.2f} a game ({self.effect:+.2f} standard deviations,"
            f" p = {self.p_value:.2g})"
        )


def drifts(before: Games, after: Games) -> list[Drift]:
    """Compare newer games with older ones; return an empty list if one side has fewer than MIN_GAMES.

    Returns:
        One element for each of `quantities`, in their order.
    """
    if min(len(before), len(after)) < MIN_GAMES:
        return []
    names, old = zip(*quantities(before).items(), strict=True)
    new = tuple(quantities(after).values())
    means = [(float(a.mean()), float(b.mean())) for a, b in zip(old, new, strict=True)]
    deviations = [float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)) for a, b in zip(old, new, strict=True)]
    effects = [(b - a) / deviation if deviation else 0.0 for (a, b), deviation in zip(means, deviations, strict=True)]
    p_values = holm([_welch(a, b) for a, b in zip(old, new, strict=True)])
    return [
        Drift(name, *of, effect, p_value, p_value < LEVEL and abs(effect) >= SMALLEST_EFFECT)
        for name, of, effect, p_value in zip(names, means, effects, p_values, strict=True)
    ]


def _welch(old: Floats, new: Floats) -> float:
    """Return the two-sided p-value of Welch's test, also if neither side has any variance."""
    from scipy.stats import ttest_ind

    if not (old.var() or new.var()):
        return float(old.mean() == new.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the precision for nearly equal values
        return float(ttest_ind(old, new, equal_var=False).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for multiple tests.

    If all null hypotheses hold, the smallest corrected value is at most x with a probability of at most x.
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.array(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return [float(each) for each in corrected]
