"""A factor of spreads that follows the season: intervals widen in more volatile seasons.

The square of the standard-normal score of an outcome is 1 on average if the spread is right, less if it is too wide.
The factor is the root of an exponentially weighted mean of these squares, which begins at 1 with the weight of
PRIOR_GAMES games.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

HALF_LIFE_GAMES: Final = 200.0
"""Games after which an outcome counts half; chosen on the seasons 2015 to 2018."""

PRIOR_GAMES: Final = 150.0

BOUNDS: Final = (0.8, 1.25)
"""Bounds of the factor, to limit the effect of wrong outcome reports. The seasons 2019 to 2023 needed 0.96 to 1.06."""

_KEEP: Final = 0.5 ** (1 / HALF_LIFE_GAMES)


class SeasonScale(NamedTuple):
    """State after some games.

    Attributes:
        observed: weighted sum of the squared scores of settled games.
        expected: expectation of that sum if spreads are right.
    """

    observed: float = PRIOR_GAMES
    expected: float = PRIOR_GAMES

    @property
    def factor(self) -> float:
        """Factor of the spreads of the next forecasts, within BOUNDS."""
        least, most = BOUNDS
        return min(max(math.sqrt(self.observed / self.expected), least), most)

    def after(self, square: float) -> Self:
        """Return the state after a game whose squared score, or the mean of several of its forecasts, is `square`."""
        prior = (1 - _KEEP) * PRIOR_GAMES
        return type(self)(_KEEP * self.observed + square + prior, _KEEP * self.expected + 1.0 + prior)

    def rounded(self, digits: int) -> Self:
        """Return the state to some decimals, equal on machines whose arithmetic differs in the last bit."""
        return type(self)(round(self.observed, digits), round(self.expected, digits))


def pooled(states: Iterable[SeasonScale]) -> SeasonScale:
    """Return the state of several series of games together: at least one."""
    return SeasonScale(*map(sum, zip(*states, strict=True)))
