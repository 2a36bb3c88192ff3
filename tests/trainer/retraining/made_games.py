"""Games made for tests, with chosen differentials."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from tests.support.builders.random_walks import scoring_for

from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.box_scores import no_box_scores
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.moments import no_moments


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
    games = Games(
        game_id=np.array([f"{day}0{team}".replace("-", "") for day, team in zip(days, home, strict=True)]),
        season=np.full(count, season, dtype=np.int16),
        date=days,
        phase=np.full(count, "RS"),
        home=home,
        away=away,
        differentials=differentials,
        final=differentials[:, -1],
        **scoring_for(differentials, differentials[:, -1]),
        line=np.full(count, np.nan, dtype=np.float32),
        box_scores=no_box_scores(count),
        moments=no_moments(count),
    )
    return games.select(np.lexsort((home, days)))
