"""Games of several sources, each game once, and their problems: a wrong game would silently make a wrong model."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_feed.pattern import LARGEST_MARGIN
from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.data.ledger_export import games_folder
from dejavu_trainer.data.plays import season_files

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


def problems(games: Games) -> Iterator[tuple[ProblemKind, str]]:
    """Yield the problems of games, each with a human-readable message.

    Two games of one source with the same date and teams are not checked here: loading refuses them.
    """
    days = zip(games.date.astype(str).tolist() * 2, [*games.home.tolist(), *games.away.tolist()], strict=True)
    twice = [f"{team} on {day}" for (day, team), count in Counter(days).items() if count > 1]
    # No two games ever took the same course, minute by minute: equal courses are one game under two dates or teams.
    courses = np.column_stack([games.differentials, games.final])
    _, course, counts = np.unique(courses, axis=0, return_inverse=True, return_counts=True)
    same = [" and ".join(games.game_id[course == each].tolist()) for each in np.flatnonzero(counts > 1)]
    large = games.game_id[np.abs(games.final) > LARGEST_MARGIN].tolist()
    end = games.differentials[:, -1]
    other = games.game_id[(end != 0) & (end != games.final)].tolist()
    doubtful = other if len(other) > 1 + int(DOUBTFUL_SHARE * len(games)) else []
    for kind, what, named in (
        (ProblemKind.DUPLICATE_GAMES, "teams that play twice on a day", twice),
        (ProblemKind.DUPLICATE_GAMES, "games with the same differentials in every minute", sorted(same)),
        (ProblemKind.IMPLAUSIBLE_SCORES, f"final margins above {LARGEST_MARGIN} points", large),
        (
            ProblemKind.IMPLAUSIBLE_SCORES,
            "finals other than the score at the end of regulation, which was no tie",
            doubtful,
        ),
        *((ProblemKind.MISSING_TEAMS, *each) for each in _missing_teams(games)),
    ):
        if named:
            more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
            yield kind, f"{what}: {', '.join(named[:SHOWN])}{more}"


def _missing_teams(games: Games) -> Iterator[tuple[str, list[str]]]:
    """Find teams with too few games in a season for a Poisson distribution, corrected for testing all teams."""
    from scipy.stats import poisson

    for season in np.unique(games.season).tolist():
        played = games.of_seasons([season])
        counts = Counter([*played.home.tolist(), *played.away.tolist()])
        expected = 2 * len(played) / len(TEAMS)
        few = [f"{team} {counts[team]}" for team in TEAMS if poisson.cdf(counts[team], expected) < RARE / len(TEAMS)]
        yield f"season {season}, {expected:.0f} games a team: too few of", few


@dataclass(frozen=True, slots=True)
class SourceGames:
    """Number of games of a source.

    Attributes:
        source: its path, or its URL without the password.
        games: number of its games.
        added: number of games that no earlier source had.
    """

    source: str
    games: int
    added: int


def gather(
    sources: Sequence[str], *, seasons: Sequence[int] = (), include_replays: bool = False
) -> tuple[Games, list[SourceGames]]:
    """Read the games of all sources. A game that several have is taken from the first of them.

    Games with the same date and teams are the same game, since sources may have different ids for it.

    Args:
        sources: folders of plays_{season}.parquet (also in seasons/), files of that name, or ledgers: a path or a URL.
        seasons: the seasons to read, by the year in which they end; all if empty.
        include_replays: whether to take games of replays from ledgers.

    Raises:
        DataError: if a source can't be read, has a game twice, or there is no game.
    """
    parts, read = list[Games](), list[SourceGames]()
    seen = set[tuple[str, str, str]]()
    for source in sources:
        with games_folder(source, include_replays=include_replays) as path:
            games = load_games(path, [season for season in season_files(path) if not seasons or season in seasons])
        keys = list(zip(games.date.astype(str).tolist(), games.home.tolist(), games.away.tolist(), strict=True))
        new = np.array([key not in seen for key in keys], dtype=bool)
        seen.update(keys)
        parts.append(games.select(new))
        read.append(SourceGames(source.rpartition("@")[2], len(games), int(new.sum())))
    games = Games.joined(parts)
    if not len(games):
        raise DataError(f"{', '.join(each.source for each in read)}: no games")
    return games.select(np.lexsort((games.game_id, games.date))), read
