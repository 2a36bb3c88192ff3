"""Fitted distributions on whole numbers hold as often as they say on games that they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
from tests.trainer.harness import assert_intervals_hold

from dejavu_models.types import CASES, HORIZONS
from dejavu_models.uncertainty.lattice.inputs import LiveColumns
from dejavu_models.uncertainty.lattice.margin_model import MarginModel
from dejavu_trainer.training.lattice import MarginGames, fit_margin_model

GAMES = 4000


def made_games(seed: int, count: int = GAMES) -> MarginGames:
    """Random walks: the spread of a minute follows the game's pace, its drift the expected margin."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(2, 5, count)
    pace = np.exp(rng.normal(0, 0.15, count))
    steps = rng.poisson(2.2 * pace[:, None] + 0.02, (count, 48)) - rng.poisson(2.2 * pace[:, None], (count, 48))
    steps = (
        steps
        + rng.binomial(1, np.clip(0.5 + margins[:, None] / 48, 0, 1), (count, 48))
        - rng.binomial(1, 0.5, (count, 48))
    )
    differentials = steps.cumsum(axis=1)
    final = differentials[:, -1] + np.where(differentials[:, -1] == 0, rng.choice([-3, 2], count), 0)
    points = rng.poisson(4.4 * pace[:, None], (count, 48)).cumsum(axis=1)
    live = LiveColumns(
        points[:, :47].astype(float),
        np.sign(steps[:, :47]).astype(float),
        np.minimum(rng.integers(0, 40, (count, 47)), 24) / 24,
    )
    outcomes = np.stack([differentials[:, 23], final], axis=1).astype(float)
    totals = points[:, [23, 47]].astype(float)
    leads = differentials[:, :47].astype(float)
    residuals = np.stack(
        [outcomes[:, index] - point(leads[:, minute - 1], margins, index, minute) for index, minute in CASES], axis=1
    )
    return MarginGames(leads, outcomes, margins, residuals, live, totals)


def point(leads: np.ndarray, margins: np.ndarray, index: int, minute: int) -> np.ndarray:
    """The expectation of these walks."""
    return leads + margins / 48 * (HORIZONS[index].minutes - minute)


@pytest.fixture(scope="module")
def unseen() -> MarginGames:
    return made_games(1, 2000)


@pytest.fixture(scope="module")
def fitted() -> MarginModel:
    return fit_margin_model(made_games(0))


def test_intervals_and_probabilities_hold_on_games_that_were_not_seen(fitted: MarginModel, unseen: MarginGames) -> None:
    for index, minute in ((0, 6), (0, 18), (1, 12), (1, 36), (1, 44), (1, 47)):
        horizon, live, leads = HORIZONS[index], unseen.live_at(minute), unseen.leads[:, minute - 1]
        assert live is not None
        points = point(leads, unseen.margins, index, minute) + fitted.shifts(horizon, minute, live)
        made = fitted.distribution(horizon, minute, points, leads, unseen.margins, live)
        outcomes = unseen.outcomes[:, index]
        assert_intervals_hold(made, outcomes, errors=4)
        assert made.home_leads.mean() == pytest.approx((outcomes > 0).mean(), abs=0.04)
