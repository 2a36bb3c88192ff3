from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import linear_points, rated_walks
from tests.support.builders.random_walks import random_walks

from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.scoring.baselines import (
    lead_scales,
    persistence,
    references,
)
from dejavu_trainer.training.linear import PARTS_OF_A_SEASON, fit_linear
from dejavu_trainer.training.ratings import RatedGames

FINAL, HALFTIME = HORIZONS.index(Horizon.FINAL), HORIZONS.index(Horizon.HALFTIME)
MINUTE = 20
CASE = CASES.index((FINAL, MINUTE))


def points_by(past: RatedGames, rated: RatedGames) -> Floats:
    """Return the point forecasts of the end after MINUTE, (n,), by a linear model of earlier games."""
    return linear_points(Ensemble(fit_linear(*past)), rated, MarginSource.KNOWN, MINUTE)[:, FINAL]


@pytest.mark.parametrize("seasons", [[2030, 2031, 2032], [2032]])
def test_references_know_every_earlier_game_and_score_by_residuals_of_models_that_did_not_see_it(
    seasons: list[int],
) -> None:
    """Each season's are by models of the other seasons; within a single season, each part's by the other parts."""
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons(seasons), rated.of_seasons([2033])
    found = references(past, test)
    points = points_by(past, test)
    assert found["linear"]["point"][:, CASE] == pytest.approx(points, abs=1e-4)
    assert found["normal"]["point"][:, CASE] == pytest.approx(points, abs=1e-4)
    games = np.arange(len(past.games))
    parts = past.games.season if len(seasons) > 1 else games * PARTS_OF_A_SEASON // len(games)
    unseen = np.concatenate([
        past.games.final[parts == part] - points_by(past.select(parts != part), past.select(parts == part))
        for part in np.unique(parts)
    ])  # fmt: skip
    scales = lead_scales(past.games, past.games.outcomes[:, None, :] - in_sample(past))[FINAL, MINUTE]
    scaled = np.sort(unseen / scales[lead_groups(past.games.levels[:, MINUTE - 1])])
    rank = (len(scaled) + 1) // 10
    half = scales[lead_groups(test.games.levels[:, MINUTE - 1])]
    assert found["linear"]["lower_80"][:, CASE] == pytest.approx(points + half * scaled[rank - 1], abs=1e-3)
    newest = past.games.season >= 2031
    spread = lead_scales(past.games.select(newest), np.tile(unseen[newest, None, None], (1, MAX_SLOTS, 2)))[
        FINAL, MINUTE
    ]
    half = spread[lead_groups(test.games.levels[:, MINUTE - 1])]
    ends = points - 1.2816 * half, points + 1.2816 * half
    for end, name in zip(ends, ("lower_80", "upper_80"), strict=True):
        assert np.abs(found["normal"][name][:, CASE] - end).max() < 1.5  # whole numbers, and no tie


def in_sample(past: RatedGames) -> Floats:
    models = Ensemble(fit_linear(*past))
    return np.stack([linear_points(models, past, MarginSource.KNOWN, minute) for minute in range(1, MAX_SLOTS + 1)], 1)


def test_persistence_keeps_the_lead_with_the_changes_of_every_earlier_game() -> None:
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons([2030, 2031, 2032]).games, rated.of_seasons([2033]).games
    found, leads = persistence(past, test), test.levels[:, MINUTE - 1]
    assert found["point"][:, CASE] == pytest.approx(leads)
    changes = np.sort(past.final - past.levels[:, MINUTE - 1])
    rank = 301 // 10
    assert found["lower_80"][:, CASE] == pytest.approx(leads + min(changes[rank - 1], 0))
    assert found["upper_80"][:, CASE] == pytest.approx(leads + max(changes[-rank], 0))


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
