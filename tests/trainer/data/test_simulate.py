from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest

from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import GAMES_A_SEASON, simulate_season


@pytest.mark.nightly
def test_a_season_has_the_schedule_scores_and_strengths_of_a_real_one(tmp_path: Path) -> None:
    write_plays(tmp_path, 2031, simulate_season(2031, seed=3))
    season = load_games(tmp_path, [2031])
    assert len(season) == GAMES_A_SEASON == 1230
    for side in (season.home, season.away):
        counts = collections.Counter(side.tolist())
        assert (len(counts), set(counts.values())) == (30, {41})
    days = zip(season.date.tolist() * 2, [*season.home, *season.away], strict=True)
    assert max(collections.Counter(days).values()) == 1
    assert np.datetime64("2030-10-20") <= season.date.min() < season.date.max() <= np.datetime64("2031-04-15")
    assert 12.5 < season.final.std() < 16.0
    assert 1.0 < season.final.mean() < 4.5
    assert 5.2 < (season.differentials[:, 23] - season.differentials[:, 17]).std() < 6.6
    assert 0.02 < (season.differentials[:, 47] == 0).mean() < 0.09
    # Mean margins over 41 games of equal teams would spread by 14/√41, about 2.2 points.
    assert np.std([season.final[season.home == team].mean() for team in set(season.home)]) > 3.3


def test_the_same_seed_gives_the_same_plays_and_another_one_others() -> None:
    one, same, other = (simulate_season(2031, seed=seed, games=3) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)
