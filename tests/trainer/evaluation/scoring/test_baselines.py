from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.folds import linear_points, rated_walks
from tests.support.builders.random_walks import random_walks

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.evaluation.scoring.baselines import (
    RIDGE,
    diffusion,
    hindsight_margins,
    lead_scales,
    linear_baseline,
    persistence_baseline,
)
from dejavu_trainer.training.linear import PARTS_OF_A_SEASON, fit_linear

CASE = CASES.index((1, 20))
HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)


def test_the_linear_reference_is_fitted_on_every_earlier_season() -> None:
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons([2030, 2031, 2032]), rated.of_seasons([2033])
    points, _ = linear_baseline(past, test)
    expected = linear_points(Ensemble(fit_linear(*past)), test, MarginSource.KNOWN, 20)
    assert points[:, 19] == pytest.approx(expected)
    fewer, _ = linear_baseline(past.of_seasons([2030, 2031]), test)
    assert np.abs(fewer[:, 19] - points[:, 19]).max() > 0.01


@pytest.mark.parametrize("seasons", [[2030, 2031, 2032], [2032]])
def test_its_residuals_are_of_every_earlier_game_by_models_that_did_not_see_it(seasons: list[int]) -> None:
    """Each season's are by models of the other seasons; within a single season, each part's by the other parts."""
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons(seasons), rated.of_seasons([2033])
    _, distributions = linear_baseline(past, test)
    games = np.arange(len(past.games))
    parts = past.games.season if len(seasons) > 1 else games * PARTS_OF_A_SEASON // len(games)
    residuals = np.concatenate(
        [
            past.games.final[parts == part]
            - linear_points(
                Ensemble(fit_linear(*past.select(parts != part))),
                past.select(parts == part),
                MarginSource.KNOWN,
                20,
            )[:, 1]
            for part in np.unique(parts)
        ]
    )
    found = distributions[CASE]
    assert len(found.cells) == 1
    spread = np.square([each * scale for each in found.cells[0].residuals for scale in found.scales[:1]]).mean()
    assert found.cells[0].games == len(past.games)
    assert spread == pytest.approx(np.square(residuals).mean(), rel=0.35)
    in_sample = past.games.final - linear_points(Ensemble(fit_linear(*past)), past, MarginSource.KNOWN, 20)[:, 1]
    assert np.square(residuals).mean() > np.square(in_sample).mean()


def test_a_single_game_is_enough_for_a_reference() -> None:
    rated = rated_walks(100, range(2030, 2031), 0)
    points, distributions = linear_baseline(rated.select(np.arange(100) == 0), rated)
    assert np.isfinite(points[:, :, 1]).all()
    assert distributions[CASE].cells[0].games == 1


def test_persistence_knows_the_changes_of_every_earlier_game() -> None:
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons([2030, 2031, 2032]), rated.of_seasons([2033])
    points, distributions = persistence_baseline(past, test)
    assert (points == test.games.levels[:, :, None]).all()
    changes = np.sort(past.games.final - past.games.levels[:, 19])
    assert distributions[CASE].cells[0].residuals == pytest.approx(changes)


def test_scales_tell_how_far_off_forecasts_are_by_lead() -> None:
    """Uses games whose outcome spread is three times as large for large leads."""
    games = random_walks(6000, range(2020, 2021))
    spread = np.where(np.abs(games.levels[:, 29]) < 16, 4.0, 12.0)
    residuals = np.zeros((len(games), MAX_SLOTS, len(HORIZONS)))
    residuals[:, 29, FINAL] = np.random.default_rng(3).normal(0, spread)
    scales = lead_scales(games, residuals)
    assert scales[FINAL, 30] == pytest.approx([4, 4, 4, 12], rel=0.1)
    assert (scales[HALFTIME, 24:] == 1).all()
    assert (scales[:, 0] == 1).all()


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
