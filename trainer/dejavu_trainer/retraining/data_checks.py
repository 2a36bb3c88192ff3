"""Checks of games before a model is made from them: a wrong game would silently make a wrong model."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_feed.pattern import LARGEST_MARGIN
from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.games import Games

RARE: Final = 1e-4
"""Probability that a complete season is mistaken for one that lacks games of a team."""

DOUBTFUL_SHARE: Final = 0.001
"""Share of games whose final may contradict the end of regulation: in the seasons 2015 to 2023, 4 of 11,508 do."""

SHOWN: Final = 3
"""Maximum number of games that a message names."""


class ProblemKind(enum.Enum):
    """Problems of games."""

    DUPLICATE_GAMES = "duplicate-games"
    IMPLAUSIBLE_SCORES = "implausible-scores"
    MISSING_TEAMS = "missing-teams"


@dataclass(frozen=True, slots=True)
class GameProblem:
    """A problem of games, with a human-readable message; `kind` is its name in `--accept`."""

    kind: ProblemKind
    message: str


def problems(games: Games) -> list[GameProblem]:
    """Return the problems of games; empty if there are none.

    Two games of one source with the same date and teams are not checked here: loading refuses them.
    """
    return [*_duplicates(games), *_implausible(games), *_missing_teams(games)]


def _duplicates(games: Games) -> Iterator[GameProblem]:
    days = Counter[tuple[str, str]]()
    for day, home, away in zip(games.date.astype(str).tolist(), games.home.tolist(), games.away.tolist(), strict=True):
        days.update([(day, home), (day, away)])
    if twice := [f"{team} on {day}" for (day, team), count in days.items() if count > 1]:
        yield GameProblem(ProblemKind.DUPLICATE_GAMES, f"teams that play twice on a day: {_named(twice)}")
    # No two games ever took the same course, minute by minute: equal courses are one game under two dates or teams.
    courses = np.column_stack([games.differentials, games.final])
    _, first, counts = np.unique(courses, axis=0, return_index=True, return_counts=True)
    same = []
    for index in first[counts > 1].tolist():
        ids = games.game_id[(courses == courses[index]).all(axis=1)].tolist()
        same.append(" and ".join(ids))
    if same:
        message = f"games with the same differentials in every minute: {_named(sorted(same))}"
        yield GameProblem(ProblemKind.DUPLICATE_GAMES, message)


def _implausible(games: Games) -> Iterator[GameProblem]:
    end = games.differentials[:, -1]
    tolerated = 1 + int(DOUBTFUL_SHARE * len(games))
    for wrong, most, what in (
        (np.abs(games.final) > LARGEST_MARGIN, 0, f"final margins above {LARGEST_MARGIN} points"),
        (
            (end != 0) & (end != games.final),
            tolerated,
            "finals other than the score at the end of regulation, which was no tie",
        ),
    ):
        if wrong.sum() > most:
            message = f"{what}: {_named(games.game_id[wrong].tolist())}"
            yield GameProblem(ProblemKind.IMPLAUSIBLE_SCORES, message)


def _missing_teams(games: Games) -> Iterator[GameProblem]:
    """Find teams with too few games in a season for a Poisson distribution, corrected for testing all teams."""
    from scipy.stats import poisson

    for season in np.unique(games.season).tolist():
        played = games.of_seasons([season])
        counts = Counter(dict.fromkeys(TEAMS, 0))
        counts.update(played.home.tolist())
        counts.update(played.away.tolist())
        expected = 2 * len(played) / len(TEAMS)
        few = [team for team in TEAMS if poisson.cdf(counts[team], expected) < RARE / len(TEAMS)]
        if few:
            named = _named([f"{team} {counts[team]}" for team in few])
            message = f"season {season}, {expected:.0f} games a team: too few of {named}"
            yield GameProblem(ProblemKind.MISSING_TEAMS, message)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
