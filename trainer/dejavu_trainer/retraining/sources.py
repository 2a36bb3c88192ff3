"""Games of several sources, each game once, and their problems: a wrong game would silently make a wrong model."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_feed.pattern import LARGEST_MARGIN
from dejavu_feed.teams import TEAMS
from dejavu_models.arrays import from_npz, to_npz
from dejavu_trainer.data.box_scores import box_scores_array, box_scores_of
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.data.ledger_export import export_ledger, ledger_url
from dejavu_trainer.data.moments import moments_from_array, moments_to_array
from dejavu_trainer.data.plays import season_files
from dejavu_trainer.retraining.work_folder import WorkFolder

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
    sources: Sequence[str],
    work: WorkFolder,
    *,
    seasons: Sequence[int] = (),
    include_replays: bool = False,
) -> tuple[Games, list[SourceGames]]:
    """Read the games of all sources. A game that several have is taken from the first of them.

    Games with the same date and teams are the same game, since sources may have different ids for it.

    Args:
        sources: folders of plays_{season}.parquet (also in seasons/), files of that name, or ledgers: a path or a URL.
        work: folder for the exports of ledgers.
        seasons: the seasons to read, by the year in which they end; all if empty.
        include_replays: whether to take games of replays from ledgers.

    Raises:
        DataError: if a source can't be read, has a game twice, or there is no game.
    """
    parts, read = list[Games](), list[SourceGames]()
    seen = set[tuple[str, str, str]]()
    for number, source in enumerate(sources):
        folder, url = Path(source), ledger_url(source)
        name = source.rpartition("@")[2]
        if url is not None:
            folder = work.temporary(f"export-{number}")
            export_ledger(url, folder, include_replays=include_replays, source=name)
        games = load_games(folder, [season for season in season_files(folder) if not seasons or season in seasons])
        keys = list(zip(games.date.astype(str).tolist(), games.home.tolist(), games.away.tolist(), strict=True))
        new = np.array([key not in seen for key in keys], dtype=bool)
        seen.update(keys)
        parts.append(games.select(new))
        read.append(SourceGames(name, len(games), int(new.sum())))
    games = _sorted(Games.joined(parts))
    if not len(games):
        raise DataError(f"{', '.join(each.source for each in read)}: no games")
    return games, read


def _sorted(games: Games) -> Games:
    return games.select(np.lexsort((games.game_id, games.date)))


def games_to_bytes(games: Games) -> bytes:
    """Serialize games as .npz; equal games give equal bytes."""
    columns = {field.name: getattr(games, field.name) for field in fields(games)}
    return to_npz(
        **{**columns, "box_scores": box_scores_array(games.box_scores), "moments": moments_to_array(games.moments)}
    )


def games_from_bytes(content: bytes, source: object) -> Games:
    """Deserialize the output of `games_to_bytes`.

    Raises:
        DataError: if the content is invalid; the message names the source.
    """
    try:
        columns = from_npz(content)
        count = len(columns["game_id"])
        columns["box_scores"] = box_scores_of(columns["box_scores"], count)
        columns["moments"] = moments_from_array(columns["moments"], count)
        return Games(*(columns[field.name] for field in fields(Games)))
    except (ValueError, KeyError) as error:
        raise DataError(f"{source}: are not the games of a retrain: {error}") from error
