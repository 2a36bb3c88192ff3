from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import linear_points, rated_walks
from tests.support.builders.random_walks import random_walks
from tests.support.fakes.linear_only_models import plain_models

from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.evaluation.scoring.baselines import lead_scales, linear_baseline, persistence_baseline
from dejavu_trainer.training.linear import PARTS_OF_A_SEASON, fit_linear

CASE = CASES.index((1, 20))
HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)


def test_the_linear_reference_is_fitted_on_every_earlier_season() -> None:
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons([2030, 2031, 2032]), rated.of_seasons([2033])
    points, _ = linear_baseline(past, test)
    expected = linear_points(plain_models(fit_linear(*past)), test, MarginSource.KNOWN, 20)
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
                plain_models(fit_linear(*past.select(parts != part))),
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
    in_sample = past.games.final - linear_points(plain_models(fit_linear(*past)), past, MarginSource.KNOWN, 20)[:, 1]
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
