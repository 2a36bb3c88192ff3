from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.random_walks import random_walks

from dejavu_models.components.linear import CUBE
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear, linear_points
from dejavu_trainer.training.ratings import RatedGames

HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)
UNKNOWN, KNOWN = MarginSource.UNKNOWN, MarginSource.KNOWN


def foretold(count: int) -> tuple[Games, np.ndarray]:
    """Games whose final lead is exactly the lead after 40 minutes + 3 − 0.25 · that lead + 2 · margin."""
    games = random_walks(count, range(2020, 2021))
    margins = np.random.default_rng(1).integers(-8, 9, count).astype(float)
    leads = games.differentials[:, 39] // 4 * 4
    differentials = games.differentials.copy()
    differentials[:, 39] = leads
    final = (leads + 3 - leads // 4 + 2 * margins).astype(np.int16)
    return replace(games, differentials=differentials, final=final), margins


def left(games: Games, margins: np.ndarray, *, curved: bool = False) -> np.ndarray:
    """What models fitted to games leave of them, (n, 47, 2 horizons)."""
    models = fit_linear(games, margins, curved=curved)
    residuals: np.ndarray = games.outcomes[:, None] - linear_points(models, RatedGames(games, margins))
    return residuals


@pytest.mark.parametrize("lined", [0, LEAST_LINES, LEAST_LINES - 1])
def test_coefficients_that_made_games_are_found_and_the_line_has_its_own_if_enough_games_have_one(lined: int) -> None:
    games, margins = foretold(LEAST_LINES + 50)
    line = np.where(np.arange(len(games)) < lined, margins / 2, np.nan).astype(np.float32)
    models = fit_linear(replace(games, line=line), margins)
    unknown, of_ratings, of_line = models.coefficients[FINAL, 40]
    assert of_ratings == pytest.approx([3.0, -0.25, 2.0, 0.0], abs=1e-9)
    assert of_line == pytest.approx([3.0, -0.25, 4.0 if lined == LEAST_LINES else 2.0, 0.0], abs=1e-9)
    lead = games.differentials[:, 39].astype(float)
    slope, intercept = np.polyfit(lead, games.final - lead, 1)
    assert unknown == pytest.approx([intercept, slope, 0.0, 0.0], abs=1e-9)
    slope, intercept = np.polyfit(margins, games.outcomes[:, 0], 1)
    assert models.coefficients[HALFTIME, 0, KNOWN] == pytest.approx([intercept, 0.0, slope, 0.0], abs=1e-9)
    mean = games.outcomes[:, 0].mean()
    assert models.coefficients[HALFTIME, 0, UNKNOWN] == pytest.approx([mean, 0.0, 0.0, 0.0], abs=1e-9)
    assert np.isnan(models.coefficients[HALFTIME, 24:]).all()
    assert np.isfinite(models.coefficients[HALFTIME, :24]).all()
    assert np.isfinite(models.coefficients[FINAL]).all()


def test_a_cube_that_made_games_is_found_if_it_is_fitted() -> None:
    games = random_walks(300, range(2020, 2021))
    leads = games.differentials[:, 39].astype(int) // 10 * 10
    differentials = games.differentials.copy()
    differentials[:, 39] = leads
    final = (leads - leads**3 // 1000).astype(np.int16)
    made, margins = replace(games, differentials=differentials, final=final), np.zeros(300)
    plain, cubed = fit_linear(made, margins), fit_linear(made, margins, curved=True)
    for source in (UNKNOWN, KNOWN):
        assert cubed.coefficients[FINAL, 40, source] == pytest.approx([0.0, 0.0, 0.0, -1.0], abs=1e-9)
    assert not np.nan_to_num(plain.coefficients[..., CUBE]).any()
    assert np.array_equal(cubed.coefficients[HALFTIME], plain.coefficients[HALFTIME], equal_nan=True)
    after, before = (np.abs(left(made, margins, curved=each)[:, 39, FINAL]).max() for each in (True, False))
    assert after < 0.1 * before


def test_the_correction_repairs_a_cubic_error_that_all_minutes_have_and_leaves_the_rest() -> None:
    """Here the favourite adds to a lead of either side in the square: the linear models with a cube lack that term."""
    games, chance = random_walks(2000, range(2020, 2021)), np.random.default_rng(1)
    leads, margins = chance.normal(0, 9, len(games)).round(), chance.normal(0, 6, len(games))
    final = leads + leads**2 * margins / 100 + chance.normal(0, 4, len(games))
    made = replace(
        games,
        differentials=np.repeat(leads[:, None], 48, axis=1).astype(np.int16),
        final=np.where(final.round() == 0, 1, final.round()).astype(np.int16),
    )
    plain, curved = (fit_linear(made, margins, curved=each) for each in (False, True))
    before, after = (left(made, margins, curved=each)[:, :, FINAL] for each in (False, True))
    assert after.std() < 0.8 * before.std()
    assert not plain.corrections.any()
    assert not plain.spreads.any()
    assert not curved.corrections[UNKNOWN, [1, 3, 4, 5]].any()
    assert curved.corrections[KNOWN].all()
    assert not curved.spreads[:, 0].any()
    assert (curved.spreads[:, 1:] > 0).all()
    assert np.array_equal(curved.coefficients[HALFTIME], plain.coefficients[HALFTIME], equal_nan=True)
