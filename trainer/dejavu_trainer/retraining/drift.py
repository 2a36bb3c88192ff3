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

from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class GameValues:
    """Compared quantities of n games, one value per game.

    Attributes:
        scoring: number of points that moved the differential, over all minutes (for each minute, the fewest that
            explain the change).
        pace: number of minutes in which the differential changes.
        halftime, final: the differential, home − away, at the half and at the end, in points.
    """

    scoring: Floats
    pace: Floats
    halftime: Floats
    final: Floats

    @classmethod
    def of(cls, games: Games) -> GameValues:
        """Return the values of games."""
        minutes = np.diff(games.differentials.astype(np.float64), axis=1, prepend=0.0)
        return cls(
            np.abs(minutes).sum(axis=1),
            (minutes != 0).sum(axis=1).astype(np.float64),
            games.differentials[:, Horizon.HALFTIME.minutes - 1].astype(np.float64),
            games.final.astype(np.float64),
        )

    def __len__(self) -> int:
        return len(self.final)


def _distance(values: Floats) -> Floats:
    """Return the distances from the median."""
    return np.abs(values - np.median(values))


QUANTITIES: Final[dict[str, Callable[[GameValues], Floats]]] = {
    "scoring": lambda games: games.scoring,
    "pace": lambda games: games.pace,
    "home edge": lambda games: games.final,
    "spread at the half": lambda games: _distance(games.halftime),
    "spread at the end": lambda games: _distance(games.final),
}
"""Compared quantities: the values of GameValues; the home edge is the mean of the final differentials, a spread is the
mean of the distances from the median."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Difference of a quantity between older and newer games.

    Attributes:
        quantity: one of QUANTITIES.
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
        One element for each of QUANTITIES, in their order.
    """
    return compare(GameValues.of(before), GameValues.of(after))


def compare(before: GameValues, after: GameValues) -> list[Drift]:
    """Compare newer games with older ones by their values; see `drifts`."""
    if min(len(before), len(after)) < MIN_GAMES:
        return []
    samples = [(quantity(before), quantity(after)) for quantity in QUANTITIES.values()]
    p_values = [_welch(old, new) for old, new in samples]
    found = []
    for name, (old, new), p_value in zip(QUANTITIES, samples, holm(p_values), strict=True):
        deviation = float(np.sqrt((old.var(ddof=1) + new.var(ddof=1)) / 2))
        difference = float(new.mean() - old.mean())
        effect = difference / deviation if deviation else 0.0
        alarm = p_value < LEVEL and abs(effect) >= SMALLEST_EFFECT
        found.append(Drift(name, float(old.mean()), float(new.mean()), effect, p_value, alarm))
    return found


def _welch(old: Floats, new: Floats) -> float:
    """Return the two-sided p-value of Welch's test, also if one side has no variance."""
    from scipy.stats import t

    parts = np.array([old.var(ddof=1) / len(old), new.var(ddof=1) / len(new)])
    difference = float(new.mean() - old.mean())
    if not parts.any():
        return float(difference == 0)
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(old), len(new)]) - 1)).sum()
    return float(2 * t.sf(abs(difference) / np.sqrt(parts.sum()), freedom))


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for multiple tests.

    If all null hypotheses hold, the smallest corrected value is at most x with a probability of at most x.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected
