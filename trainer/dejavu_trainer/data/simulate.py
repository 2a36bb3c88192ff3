"""Simulates seasons of plausible games, for users who have no recorded ones.

dejavu_feed.replay.games simulates a single game; this module adds the schedule and the team strengths. Nothing is
estimated from real games: a model trained on simulated seasons is not valid for real ones.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Final

import pyarrow as pa

from dejavu_feed.files.plays_format import COLUMNS
from dejavu_feed.replay.simulate import simulate_game
from dejavu_feed.teams import TEAMS
from dejavu_models.components.component import Advance, ignore

GAMES_A_SEASON: Final = 1230
"""82 games for each of 30 teams, 41 of them at home."""

HOME_ADVANTAGE: Final = 2.5
"""Expected margin of a home team against an equally strong visitor, in points."""

STRENGTH_SPREAD: Final = 4.5
"""Standard deviation of team strengths, in points per game; typical of season net ratings."""

_OPENING: Final = (10, 20)
_DAYS: Final = 172


def simulate_season(season: int, *, seed: int = 0, games: int = GAMES_A_SEASON, advance: Advance = ignore) -> pa.Table:
    """Simulate the plays of one season, in the columns of dejavu_trainer.data.plays.

    Args:
        season: year in which the season ends.
        seed: random seed; the same season and seed give the same plays.
        games: number of games, 1 to 1,230; with fewer, teams play less often.
        advance: called with 1 after each game, to show progress.

    Raises:
        ValueError: if the number of games is out of range.
    """
    if not 1 <= games <= GAMES_A_SEASON:
        raise ValueError(f"{games} games; expected 1 to {GAMES_A_SEASON}")
    rng = random.Random(f"season {season}, seed {seed}")  # noqa: S311 - simulation, not cryptography
    strength = {team: rng.gauss(0.0, STRENGTH_SPREAD) for team in TEAMS}
    rows = list[tuple[str, str, str, str, float, int, int]]()
    for day, home, away in _schedule(rng, season, games):
        game_id = f"{day:%Y%m%d}0{home}"
        edge = HOME_ADVANTAGE + strength[home] - strength[away]
        rows += (
            (game_id, "RS", home, away, score.elapsed, score.home, score.away)
            for score in simulate_game(rng, home_edge=edge)
        )
        advance(1)
    return pa.table(dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))


def _schedule(rng: random.Random, season: int, games: int) -> list[tuple[date, str, str]]:
    """Return dates and pairings (home, away), sorted by date; no team plays twice a day.

    Each team hosts every other team once, and twelve teams a second time. The twelve follow the host in a circle, so
    that home and away games balance.
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
