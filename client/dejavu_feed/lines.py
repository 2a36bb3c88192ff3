"""Line of a game: what a betting market expects of it before tip-off."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

MAX_MARGIN: Final = 35.0
"""Largest margin of a line, in points; the largest closing spread of 2014 to 2024 is 23. A slip such as 55 for 5.5
would decide all forecasts of a game."""

TOTALS: Final = (150.0, 300.0)
"""Bounds of a line of total points; those of 2014 to 2024 lie between 165 and 261."""

SPREAD_OF_RESULTS: Final = 12.5
"""Standard deviation of the final differential around the closing line, in points, from 2014 to 2024; it turns a
probability to win into a margin."""

PLAUSIBLE_OVERROUNDS: Final = (-0.01, 0.15)
"""Bounds of the overround (the bookmaker's margin) within which two prices can belong to the same market.

A sportsbook takes a few percent on two sides, 1 to 6 in 12,179 of 12,180 closing moneylines, and more while a game is
played; the best prices of two sportsbooks may imply a little less than 1 together. Beyond the bounds, one of the prices
is mistyped or belongs to another line.
"""


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
    """Return the margin that two moneylines imply, in points, rounded to halves; the final is normal around the line.

    Args:
        home: decimal odds of the home team.
        away: decimal odds of the away team.

    Raises:
        ValueError: if the two cannot belong to the same market.
    """
    probability = fair_share(home, away)
    return round(2 * SPREAD_OF_RESULTS * NormalDist().inv_cdf(min(max(probability, 1e-4), 1 - 1e-4))) / 2


def fair_share(home: float, away: float) -> float:
    """Return the probability of the home side that two prices imply; the bookmaker's margin comes off in proportion.

    Args:
        home: decimal odds of the home side.
        away: decimal odds of the away side.

    Raises:
        ValueError: if the two cannot belong to the same market.
    """
    implied = 1 / home + 1 / away
    least, most = PLAUSIBLE_OVERROUNDS
    if not least <= implied - 1 <= most:
        found, *ends = (f"{100 * share:.0f}" for share in (implied, 1 + least, 1 + most))
        raise ValueError(f"the two prices imply {found} % together; expected {' to '.join(ends)}: one of them is wrong")
    return 1 / home / implied
