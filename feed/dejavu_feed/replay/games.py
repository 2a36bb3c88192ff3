"""Games for a replay: from a file of recorded plays, or simulated."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import exclusion_reason
from dejavu_feed.files.plays_format import season_of_day
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import Source
from dejavu_feed.lines import Line
from dejavu_feed.pattern import REGULATION_MINUTES, Score
from dejavu_feed.replay.simulate import simulate_game
from dejavu_feed.teams import TEAMS, team_code

MOST_SIMULATED: Final = len(TEAMS) // 2
_IDLE_SECONDS: Final = 12.0
"""Typical maximum number of seconds of play between two plays of a feed."""
_HOME_EDGE: Final = (2.5, 5.0)
"""Mean and standard deviation of a home team's expected margin, in points."""


@dataclass(frozen=True, slots=True)
class ReplayGame:
    """A recorded or simulated game.

    Attributes:
        source: identifier of the game in its source.
        home, away: NBA codes.
        scores: every change of the score in chronological order; rows without a change are plays without points.
        day: local date of the game; None: the day on which it is replayed.
        line: line of the game in the replay's odds; None: they do not have the game.
    """

    source: str
    home: str
    away: str
    scores: tuple[Score, ...]
    day: date | None = None
    line: Line | None = None


def draw_matchups(rng: random.Random, count: int) -> tuple[tuple[str, str], ...]:
    """Draw the matchups of an evening of `count` games as (home, away) NBA codes; no team plays twice.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    if not 1 <= count <= MOST_SIMULATED:
        raise ValueError(f"{count} games requested; an evening of {len(TEAMS)} teams has 1 to {MOST_SIMULATED}")
    teams = rng.sample(sorted(TEAMS), 2 * count)
    return tuple(zip(teams[::2], teams[1::2], strict=True))


def draw_home_edge(rng: random.Random) -> float:
    """Draw a home team's expected final margin in points, independent of the teams' real strength."""
    return rng.gauss(*_HOME_EDGE)


def simulated_game(
    rng: random.Random, number: int, home: str, away: str, edge: float, day: date | None = None
) -> ReplayGame:
    """Simulate one game of an evening.

    Args:
        rng: random number generator.
        number: number of the game, from 1.
        home: NBA code of the home team.
        away: NBA code of the away team.
        edge: the home team's expected final margin, in points.
        day: local date of the game; None: the day on which it is replayed.
    """
    return ReplayGame(f"simulated {number}", home, away, fill_idle_plays(simulate_game(rng, home_edge=edge)), day)


def simulated_evening(rng: random.Random, count: int, day: date | None = None) -> tuple[ReplayGame, ...]:
    """Simulate `count` games in which no team plays twice. Team strengths are random.

    Raises:
        ValueError: if `count` is not 1 … 15.
    """
    return tuple(
        simulated_game(rng, number, home, away, draw_home_edge(rng), day)
        for number, (home, away) in enumerate(draw_matchups(rng, count), 1)
    )


def recorded_evening(
    path: Path, day: date, source: Source = Source.PLAYS, game_list: Path | None = None
) -> tuple[tuple[ReplayGame, ...], tuple[str, ...]]:
    """Read the games of a day from a file of plays, by the same rules as an import (docs/training.md).

    Args:
        path: a file; of another project's plays also a folder of them.
        day: local date of the games.
        source: project whose files they are.
        game_list: file of the list of games with their NBA ids and dates; None if there is none.

    Returns:
        The games, and the reasons why other games of that day are excluded: not eligible (`exclusion_reason`), or left
        out by the reader, such as a game that contradicts the list.

    Raises:
        DataError: if a file can't be read, lacks a column or has an invalid row, or no game of that day can be
            replayed.
        FeedNotInstalled: if a file is parquet, and pyarrow is missing.
    """
    checked = read_games([path], source, season_of_day(day), game_list, day)
    if checked.problems:
        first, more = checked.problems[0].located(path), len(checked.problems) - 1
        raise DataError(f"{first}{f'; and {checked.at_least}{more:,} more problems' * (more > 0)}")
    excluded = [f"{game.game_id}: {game.reason}" for game in checked.left_out]
    games: list[ReplayGame] = []
    for game in checked.games:
        reason = exclusion_reason(game.away, game.scores)
        if reason or game.away is None:  # always with a reason; mypy does not know
            excluded.append(f"{game.game_id}: {reason}")
            continue
        teams = team_code(game.home), team_code(game.away)
        games.append(ReplayGame(game.game_id, *teams, fill_idle_plays(game.scores), day))
    if not games:
        raise DataError(f"{path}: no game of {day} to replay" + "".join(f"; {reason}" for reason in excluded))
    return tuple(games), tuple(excluded)


def fill_idle_plays(scores: Sequence[Score]) -> tuple[Score, ...]:
    """Return the same timeline with a row at least every `_IDLE_SECONDS` seconds of play.

    Recorded and simulated games contain only score changes. A real feed also lists rebounds, fouls and turnovers, so
    the end of each minute becomes visible soon after it. Without such plays a poller would wait for the next basket.
    """
    end = max(60.0 * REGULATION_MINUTES, scores[-1].elapsed)
    rows: list[Score] = []
    for score, then in itertools.pairwise([*scores, scores[-1]._replace(elapsed=end)]):
        gap = then.elapsed - score.elapsed
        parts = math.ceil(gap / _IDLE_SECONDS)
        rows.append(score)
        rows += [score._replace(elapsed=round(score.elapsed + gap * number / parts, 1)) for number in range(1, parts)]
    return tuple(rows)
