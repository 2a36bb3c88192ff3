"""Team ratings from results: the expected final differential of a game before tip-off.

The state of the filter (`team_filter`) is each team's strength, the home advantage, and the coefficient of each term of
a game (`GameTerms`: schedule, playoffs, altitude), in points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final

from dejavu_feed.off_season import days_around
from dejavu_feed.teams import DECEMBER_DEVIATION
from dejavu_models.schedule import NO_TERMS, GameTerms
from dejavu_models.team_filter import LEVEL, TeamFilter
from dejavu_models.types import ExpectedMarginTerms, MarginSource, TeamKnowledge, WarningReason

MAX_RATINGS_DAYS: Final = 30
"""Default of the greatest age at which ratings are used, in days; summers are not counted (`dejavu_feed.off_season`).
It is longer than any pause of a season except that of 2020."""

# Uncertainty of margins in usual seasons: 2016 to 2023, without the two that the pandemic moved (docs/evaluation.md).
USUAL_VARIANCES: Final = {MarginSource.UNKNOWN: math.inf, MarginSource.RATED: 27.3, MarginSource.KNOWN: 13.6}
"""Variance of the expected margin, in points squared, that the tables of each source include. RATED: its mean for
margins frozen before a season, on which these tables are fitted; KNOWN: its maximum for two teams with KNOWN_GAMES
games."""


@dataclass(frozen=True, slots=True)
class RatingFilter(TeamFilter):
    """Filter of final differentials; immutable.

    Its state, (35,), has the strengths, the home advantage, and the coefficients of the other GameTerms.
    """

    away_sign: ClassVar[float] = -1.0
    level: ClassVar[float] = 3.0
    terms: ClassVar[tuple[str, ...]] = GameTerms._fields

    def expected_margin_terms(
        self, home: str, away: str, terms: GameTerms = NO_TERMS, *, schedule_known: bool = False
    ) -> ExpectedMarginTerms:
        """Return the terms of the expected final differential of a game before tip-off.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game.
            schedule_known: whether the schedule of both teams is known (`GameSchedule.is_known`).

        Raises:
            KeyError: if a team is not an NBA code.
        """
        coefficients = self.mean[LEVEL:].tolist()
        worth = GameTerms(*(load * points for load, points in zip(terms, coefficients, strict=True)))
        return ExpectedMarginTerms(
            self.strengths[home] - self.strengths[away],
            worth.home,
            worth.back_to_back + worth.games_in_6_days,
            worth.playoffs,
            worth.altitude,
            schedule_known,
        )


def are_known(teams: Sequence[TeamKnowledge]) -> bool:
    """Return whether teams are known as well as in a usual December."""
    return all(team.deviation <= DECEMBER_DEVIATION for team in teams)


def are_usable(newest: date, game_date: date | None, max_days: int, end: date | None = None) -> bool:
    """Return whether ratings may be used for a game.

    Args:
        newest: date of the newest final that the ratings know.
        game_date: date of the game; None: the age of the ratings is not checked.
        max_days: maximum age of the ratings, in days without summers; also the maximum number of days that they may be
            ahead of the game.
        end: date on which the knowledge of the game's teams ends, if that is before `newest` (`LiveRatings.unseen`).
    """
    if game_date is None:
        return True
    return days_around(newest, max_days)[0] <= game_date <= days_around(end or newest, max_days)[1]


def ratings_warnings(
    newest: date, game_date: date | None, max_days: int, end: date | None = None
) -> tuple[WarningReason, ...]:
    """Return the warnings due to the age of ratings; see `are_usable`."""
    if game_date is None:
        return ()
    if game_date > days_around(end or newest, max_days)[1]:
        return (WarningReason.RATINGS_OUTDATED,)
    return (WarningReason.RATINGS_AHEAD,) if game_date < newest else ()
