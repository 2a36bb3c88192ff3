"""Ratings of totals: the expected final points of both teams before tip-off.

Each team has one number, the points that its offence and defence together add to the total of its games. The two
numbers of a game enter the expected total as strengths enter an expected margin, except for the sign of the away
team's. Separate numbers for offence and defence did not improve forecasts (docs/decisions/0062).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from dejavu_models.schedule import TotalTerms
from dejavu_models.team_filter import RatingSettings, TeamFilter

STARTING_SETTINGS: Final = RatingSettings(noise=320.0, daily=0.05, carry=0.5, seasonal=10.0, home_daily=0.05)
"""Settings from which the trainer's search starts: totals spread more than margins, and their level drifts with the
style of play."""

_LEVEL = 200.0


@dataclass(frozen=True, slots=True)
class TotalFilter(TeamFilter):
    """Filter of final totals, overtime included; immutable.

    Its state, (34,), has the contribution of each team to the total of a game, the total of two average teams, and the
    coefficients of the other TotalTerms.
    """

    away_sign: ClassVar[float] = 1.0

    @classmethod
    def start(cls, settings: RatingSettings = STARTING_SETTINGS) -> Self:
        """Create the prior: equal teams, a level of 200 points, and large variances of the teams.

        Args:
            settings: parameters of the filter.
        """
        return cls.prior(settings, level=_LEVEL, terms=len(TotalTerms._fields) - 1)
