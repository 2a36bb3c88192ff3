"""Games made for tests, with chosen differentials."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
from tests.support.builders.random_walks import random_walks, scoring_for

from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.games import Games


def made_games(count: int, *, season: int = 2031, seed: int = 0, scale: float = 1.0) -> Games:
    """Return games of random walks, fourteen a day; `scale` multiplies how far they move."""
    rng = np.random.default_rng(seed)
    moves = np.rint(scale * rng.normal(0.05, 2.2, (count, 48))).astype(np.int16)
    differentials = np.cumsum(moves, axis=1).astype(np.int16)
    differentials[:, -1] += (differentials[:, -1] == 0).astype(np.int16)
    day, place = np.divmod(np.arange(count), 14)
    teams = np.array([np.random.default_rng((season, each)).permutation(list(TEAMS)) for each in day])
    home, away = np.take_along_axis(teams, np.stack([2 * place, 2 * place + 1], axis=1), axis=1).T
    days = np.array([date(season - 1, 10, 20) + timedelta(days=int(each)) for each in day], dtype="datetime64[D]")
    games = replace(
        random_walks(count, range(season, season + 1)),
        game_id=np.array([f"{day}0{team}".replace("-", "") for day, team in zip(days, home, strict=True)]),
        date=days,
        home=home,
        away=away,
        differentials=differentials,
        final=differentials[:, -1],
        **scoring_for(differentials, differentials[:, -1]),
    )
    return games.select(np.lexsort((home, days)))
