"""Line of a game: the expectation of a betting market before tip-off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

MAX_MARGIN: Final = 35.0
"""Largest margin of a line, in points; the largest closing spread of 2014 to 2024 is 23. A slip such as 55 for 5.5
would dominate all forecasts of a game."""

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
    """Expectation of a market for a game; None where the market gives none.

    Attributes:
        margin: final differential, home − away, in points.
        total: final points of both teams together.
    """

    margin: float | None = None
    total: float | None = None


NO_LINE: Final = Line()
"""A line without numbers."""


@dataclass(frozen=True, slots=True)
class SidedLine:
    """A line with the teams of its sides, as its source has them.

    Attributes:
        line: the line, with the sides of its source.
        home, away: codes of the teams on these sides; "" if the source does not say, another text for an unknown team.
    """

    line: Line
    home: str = ""
    away: str = ""

    def of(self, home: str, away: str) -> Line | None:
        """Return the line with the sides of the scoreboard, swapped if necessary; None if the teams are others."""
        if self.home in ("", home) and self.away in ("", away):
            return self.line
        if self.home in ("", away) and self.away in ("", home):
            return replace(self.line, margin=None if self.line.margin is None else 0.0 - self.line.margin)
        return None

    def teams_instead_of(self, home: str, away: str) -> str:
        """Return the teams of a line that is not of a game's teams, as "DEN @ LAL, not BOS @ MIA"; else ""."""
        if self.of(home, away) is not None:
            return ""
        return f"{self.away or '?'} @ {self.home or '?'}, not {away} @ {home}"


def margin_of(home: float, away: float) -> float:
    """Return the margin that two moneylines imply, in points, rounded to halves, for a normally distributed final.

    Args:
        home: decimal odds of the home team.
        away: decimal odds of the away team.

    Raises:
        ValueError: if the two cannot belong to the same market.
    """
    probability = fair_share(home, away)
    return round(2 * SPREAD_OF_RESULTS * NormalDist().inv_cdf(min(max(probability, 1e-4), 1 - 1e-4))) / 2


def fair_share(home: float, away: float) -> float:
    """Return the probability of the home side that two prices imply, normalized to remove the bookmaker's margin.

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
