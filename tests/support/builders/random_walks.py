"""Games whose differential is a random walk: close to real games, any number of them, without files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.live_inputs import COLUMNS
from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.box_scores import no_box_scores
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.moments import no_moments


def random_walks(games_a_season: int, seasons: range, seed: int = 0) -> Games:
    """Return games with changes of about ±2.5 points a minute; four a day from the first of November."""
    rng = np.random.default_rng(seed)
    count = games_a_season * len(seasons)
    differentials = np.round(rng.normal(0.05, 2.5, (count, 48)).cumsum(axis=1)).astype(np.int16)
    season = np.repeat(np.array(seasons, dtype=np.int16), games_a_season)
    day = np.tile(np.arange(games_a_season) // 4, len(seasons)).astype("timedelta64[D]")
    first = np.array([f"{year - 1}-11-01" for year in season.tolist()], dtype="datetime64[D]")
    teams = rng.permuted(np.tile(np.array(sorted(TEAMS)), (count, 1)), axis=1)[:, :2]
    final = differentials[:, -1].copy()
    final[final == 0] = 1
    return Games(
        game_id=np.array([f"walk{number:06d}" for number in range(count)]),
        season=season,
        date=first + day,
        phase=np.full(count, "RS"),
        home=teams[:, 0],
        away=teams[:, 1],
        differentials=differentials,
        final=final,
        **scoring_for(differentials, final),
        line=np.full(count, np.nan, dtype=np.float32),
        box_scores=no_box_scores(count),
        moments=no_moments(count),
    )


def scoring_for(differentials: NDArray[np.int16], final: NDArray[np.int16]) -> dict[str, Any]:
    """Return totals and last scores that fit differentials: each minute has two points more than the change.

    The last points of a minute are scored 7 s before its end, by the side that the differential moved to.

    Args:
        differentials: (n, 48) home − away at the end of minutes 1 … 48, in points.
        final: (n,) final home − away, in points.
    """
    changes = np.diff(differentials, axis=1, prepend=0)
    totals = (np.abs(changes) + 2).cumsum(axis=1).astype(np.int16)
    known = {"total_points": totals, "last_score_side": np.where(changes >= 0, 1, -1), "last_score_seconds": 7}
    live = np.full((*changes.shape, len(COLUMNS)), np.nan, np.float32)
    for name, values in known.items():
        live[:, :, list(COLUMNS).index(name)] = values
    return {
        "live": live,
        "final_total": (totals[:, -1] + np.abs(final - differentials[:, -1])).astype(np.int16),
    }


def with_column(games: Games, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the live inputs of games with one column replaced."""
    live = games.live.copy()
    live[:, :, list(COLUMNS).index(name)] = values
    return live


def with_moments(games: Games) -> Games:
    """Return games with states every ten seconds before half and end, between those of the minutes, and in overtime.

    The sides have the ball in turn, and a shot is in the air in every fourth state.
    """
    at = np.concatenate([np.arange(1260, 1440, 10), np.arange(2520, 2880, 10)])
    before = games.differentials[:, at // 60 - 1].astype(np.float64)
    leads = np.rint(before + (games.differentials[:, at // 60] - before) * (at % 60) / 60)
    turn = np.arange(len(at))
    moments = no_moments(len(games))
    for row, of_game in enumerate(leads):
        states = np.stack(
            [at, of_game, 4.0 * (at // 60) + of_game % 2, np.where(turn % 2, 1, -1), turn % 4 == 0, 0 * turn], axis=1
        )
        if games.differentials[row, -1] == 0:
            overtime = [(2880.0 + second, np.sign(games.final[row]), 201.0, 1.0, 0.0, 0.0) for second in (30, 150, 290)]
            states = np.concatenate([states, overtime])
        moments[row] = states.astype(np.float32)
    return replace(games, moments=moments)


def with_total_lines(games: Games) -> Games:
    """Return games whose final total a market expects with a standard error of 12 points."""
    rng = np.random.default_rng(11)
    line = np.round(2 * (games.final_total + rng.normal(0, 12.0, len(games)))) / 2
    return replace(games, live=with_column(games, "pregame_total", np.repeat(line[:, None], 48, axis=1)))


def paced_games(count: int, seasons: range, seed: int = 0) -> Games:
    """Return games whose teams each have a pace; the rate of points is proportional to the product of both."""
    games = random_walks(count, seasons, seed)
    rng = np.random.default_rng(seed + 7)
    pace = dict(zip(sorted(TEAMS), np.exp(np.random.default_rng(3).normal(0, 0.05, len(TEAMS))), strict=True))
    rate = np.array([4.6 * pace[one] * pace[other] for one, other in zip(games.home, games.away, strict=True)])
    night = np.exp(rng.normal(0, 0.06, len(games)))
    points = np.maximum(rng.poisson((rate * night)[:, None], (len(games), 48)), 0).cumsum(axis=1)
    differentials = np.clip(games.differentials, -points, points)
    points += (points + differentials) % 2  # home + away and home − away are both even or both odd
    points = np.maximum.accumulate(points, axis=1)
    return replace(
        games,
        differentials=differentials.astype(np.int16),
        live=with_column(games, "total_points", points),
        final_total=points[:, -1].astype(np.int16),
    )
