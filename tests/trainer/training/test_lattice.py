"""Fitted distributions on whole numbers hold as often as they say on games that they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import rated_walks
from tests.trainer.harness import assert_intervals_hold

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.types import MarginSource
from dejavu_trainer.training.calibrate import fit_tables
from dejavu_trainer.training.linear import fit_linear, linear_points
from dejavu_trainer.training.served_tables import ServedTables


def test_intervals_and_probabilities_hold_on_games_that_were_not_seen() -> None:
    past, unseen = rated_walks(700, range(2020, 2023), 0), rated_walks(1000, range(2023, 2024), 5)
    models, tables = Ensemble(fit_linear(*past, curved=True)), fit_tables(past, past.margins)
    points = linear_points(models.linear, unseen)
    for with_live in (False, True):
        served = ServedTables.of_source(models, tables, MarginSource.KNOWN, unseen, with_live=with_live)
        assert served.use_live is with_live
        for index, minute in ((0, 6), (0, 18), (1, 12), (1, 36), (1, 44), (1, 47)):
            _, made = served.distribution(points, unseen.margins, index, minute)
            outcomes = unseen.games.outcomes[:, index]
            assert_intervals_hold(made, outcomes, errors=4)
            assert made.home_leads.mean() == pytest.approx((outcomes > 0).mean(), abs=0.04)
            assert np.mean(made.crps(outcomes)) < np.abs(outcomes - outcomes.mean()).mean()
