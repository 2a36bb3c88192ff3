"""A season of plausible games out of chance, so that a user without recorded ones can try the trainer.

The course of a game is dejavu_feed.replay.simulate's; here are the schedule and the strengths of the teams around it.
Nothing in it is learned from a game, and a model trained on it says nothing about real ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

import pyarrow as pa

from dejavu_feed.names import TEAMS
from dejavu_feed.replay.simulate import simulate_game
from dejavu_trainer.data.plays import COLUMNS

GAMES_A_SEASON: Final = 1230
"""82 for each of 30 teams, 41 of them at home."""

HOME_ADVANTAGE: Final = 2.5
"""Points by which a home team beats a visitor as strong as itself."""

STRENGTH_SPREAD: Final = 4.5
"""Standard deviation of the teams' strengths, in points a game: that of season net ratings in most years."""

_OPENING: Final = (10, 20)
_DAYS: Final = 172


def simulate_season(
    season: int, *, seed: int = 0, games: int = GAMES_A_SEASON, advance: Callable[[int], object] | None = None
) -> pa.Table:
    """The plays of one season, in the columns of dejavu_trainer.data.plays.

    Args:
        season: the year in which it ends.
        seed: the same season and seed give the same plays.
        games: how many, 1 to 1,230; with fewer, teams play less often.
        advance: called with 1 after each game, to show progress.

    Raises:
        ValueError: if there is no such number of games.
    """
    if not 1 <= games <= GAMES_A_SEASON:
        raise ValueError(f"{games} games; expected 1 to {GAMES_A_SEASON}")
    rng = random.Random(f"season {season}, seed {seed}")  # noqa: S311 - games, not secrets
    strength = {team: rng.gauss(0.0, STRENGTH_SPREAD) for team in TEAMS}
    rows = list[tuple[str, str, str, str, float, int, int]]()
    for day, home, away in _schedule(rng, season, games):
        game_id = f"{day:%Y%m%d}0{home}"
        edge = HOME_ADVANTAGE + strength[home] - strength[away]
        rows += (
            (game_id, "RS", home, away, score.elapsed, score.home, score.away)
            for score in simulate_game(rng, home_edge=edge)
        )
        if advance is not None:
            advance(1)
    return pa.table(dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))


def _schedule(rng: random.Random, season: int, games: int) -> list[tuple[date, str, str]]:
    """Dates and pairings (home, away) in order of date; nobody plays twice a day.

    Everybody hosts everybody once, and a dozen teams a second time: as a circle, so that hosts and guests even out.
    """
    teams = rng.sample(sorted(TEAMS), len(TEAMS))
    circle = range(len(teams))
    pairs = [(teams[i], teams[j]) for i in circle for j in circle if i != j]
    pairs += [(teams[i], teams[(i + step) % len(teams)]) for i in circle for step in range(1, 13)]
    playing: list[set[str]] = [set() for _ in range(_DAYS)]
    schedule = list[tuple[date, str, str]]()
    opening = date(season - 1, *_OPENING)
    for home, away in rng.sample(pairs, games):
        free = [day for day in range(_DAYS) if home not in playing[day] and away not in playing[day]]
        day = min(free, key=lambda day: (len(playing[day]), rng.random()))
        playing[day] |= {home, away}
        schedule.append((opening + timedelta(day), home, away))
    return sorted(schedule)
