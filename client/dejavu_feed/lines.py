"""Line of a game: what a betting market expects of it before tip-off."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

MAX_MARGIN: Final = 60.0
"""Largest margin of a line, in points; the largest closing spread of 2014 to 2024 is 23."""

SPREAD_OF_RESULTS: Final = 12.5
"""Standard deviation of the final differential around the closing line, in points, from 2014 to 2024; it turns a
probability to win into a margin."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a market expects of a game; None where it does not say.

    Attributes:
        margin: final differential, home − away, in points.
        total: final points of both teams together.
    """

    margin: float | None = None
    total: float | None = None


NO_LINE: Final = Line()
"""A line without numbers."""


def margin_of(home: float, away: float) -> float:
    """Return the margin that two moneylines imply, in points, rounded to halves.

    The bookmaker's margin is taken off in proportion; the final differential is normal around the line.

    Args:
        home: decimal odds of the home team.
        away: decimal odds of the away team.
    """
    probability = (1 / home) / (1 / home + 1 / away)
    return round(2 * SPREAD_OF_RESULTS * NormalDist().inv_cdf(min(max(probability, 1e-4), 1 - 1e-4))) / 2
