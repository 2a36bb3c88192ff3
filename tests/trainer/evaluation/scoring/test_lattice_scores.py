from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.folds import rated_walks

from dejavu_models.uncertainty.adaptive import BOUNDS
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_trainer.evaluation.scoring.lattice_scores import factors_of_days_before, lattice_forecasts
from dejavu_trainer.training.served_tables import ServedTables


def test_each_game_is_forecast_by_the_tables_that_a_server_would_use() -> None:
    """A game whose points are not known must not take the live inputs from the other games of its season."""
    games, margins = rated_walks(40, range(2033, 2034), 3)
    live, without = symmetric_model(LiveKind.SCORES), symmetric_model()
    points = np.repeat(games.levels[:, :47, None], 2, axis=2) + np.random.default_rng(1).normal(0, 3, (40, 47, 2))
    live_inputs = games.live.copy()
    live_inputs[7, :, 0], live_inputs[9, 20, 2] = np.nan, np.nan
    final_total = games.final_total.copy()
    final_total[3] = -1  # at the end: no live input
    some = replace(games, live=live_inputs, final_total=final_total)

    of_all, of_some, of_none = (
        lattice_forecasts(points, tables, margins)
        for tables in (
            ServedTables([live, without], games),
            ServedTables([live, without], some),
            ServedTables([without], games),
        )
    )
    lacking = np.isin(np.arange(40), [7, 9])
    for name, mixed in of_some.items():
        assert np.allclose(mixed[lacking], of_none[name][lacking], atol=1e-5, equal_nan=True)
        assert np.allclose(mixed[~lacking], of_all[name][~lacking], atol=1e-5, equal_nan=True)
    assert np.abs(of_all["crps"] - of_none["crps"]).max(axis=1).min() > 0.001, "the tables differ in every game"


def test_a_day_is_forecast_without_what_its_own_games_teach() -> None:
    squares = np.full(300, 4.0)  # intervals have half the width that they need
    of_one_day = factors_of_days_before(squares, np.zeros(300, dtype=np.int64))
    assert (of_one_day == 1).all()
    by_days = factors_of_days_before(squares, np.arange(300) // 3)
    assert (by_days[:3] == 1).all()
    assert (np.diff(by_days[::3]) >= 0).all()
    assert (by_days.reshape(-1, 3) == by_days[::3, None]).all()
    assert by_days[-1] == BOUNDS[1]
