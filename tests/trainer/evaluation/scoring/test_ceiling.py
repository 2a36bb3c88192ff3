from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.folds import rated_walks

from dejavu_models.types import CASES
from dejavu_trainer.evaluation.scoring.baselines import RIDGE, diffusion, hindsight_margins


def test_hindsight_is_what_all_other_games_of_the_season_say() -> None:
    games = rated_walks(120, range(2030, 2032), 0).games
    found = hindsight_margins(games)
    of_season = games.season == 2031
    first = int(np.flatnonzero(of_season)[0])
    rest = games.select(of_season & (np.arange(len(games)) != first))
    teams = np.unique(np.concatenate([games.home, games.away]))
    inputs = np.stack(
        [(rest.home == team) * 1.0 - (rest.away == team) for team in teams] + [np.ones(len(rest))], axis=1
    )
    penalty = np.diag([RIDGE] * len(teams) + [1e-6])
    fitted = dict(zip([*teams, ""], np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ rest.final), strict=True))
    assert found[first] == pytest.approx(fitted[games.home[first]] - fitted[games.away[first]] + fitted[""])
    turned = games.final.copy()
    turned[first] = -turned[first]
    assert hindsight_margins(replace(games, final=turned))[first] == pytest.approx(found[first])


def test_later_games_count_in_hindsight_and_other_seasons_do_not() -> None:
    games = rated_walks(120, range(2030, 2032), 0).games
    turned = np.where(games.season == 2031, -games.final, games.final)
    before, after = hindsight_margins(games), hindsight_margins(replace(games, final=turned))
    of_2030 = games.season == 2030
    assert after[of_2030] == pytest.approx(before[of_2030])
    assert np.abs(after[~of_2030] - before[~of_2030]).max() > 1


def test_a_diffusion_is_right_about_random_walks_with_drift() -> None:
    past, rated = rated_walks(1500, range(2030, 2031), 0), rated_walks(1500, range(2031, 2032), 4)
    means, deviations = diffusion(past, rated)
    assert means.shape == (1500, len(CASES))
    outcomes = rated.games.outcomes
    for case in (0, 17, 22, 23, 40, 60):
        index, minute = CASES[case]
        score = (outcomes[:, index] - means[:, case]) / deviations[case]
        assert np.abs(score).std() > 0
        assert np.sqrt(np.square(score).mean()) == pytest.approx(1, abs=0.12), (index, minute)
    by_case = dict(zip(CASES, deviations.tolist(), strict=True))
    assert by_case[1, 36] == pytest.approx(by_case[0, 12])  # the same time is left
    assert by_case[1, 12] ** 2 == pytest.approx(36 * by_case[1, 47] ** 2)
