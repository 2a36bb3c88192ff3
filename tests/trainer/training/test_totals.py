"""Fitted distributions of totals hold as often as they say on games that they have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.random_walks import paced_games, with_column
from tests.support.harness.present import present
from tests.trainer.harness import assert_intervals_hold

from dejavu_models.team_filter import TotalFilter
from dejavu_models.types import HORIZONS, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import ignore
from dejavu_trainer.training.totals import (
    MIN_GAMES,
    TotalGames,
    carry_totals,
    fit_total_model,
    fit_totals,
    frozen_totals,
    total_games,
)


@pytest.fixture(scope="module")
def games() -> Games:
    return paced_games(520, range(2020, 2024))


@pytest.fixture(scope="module")
def unseen(games: Games) -> TotalGames:
    later = paced_games(1500, range(2024, 2025), seed=5)
    _, after = carry_totals(TotalFilter.start(), games)
    return total_games(later, carry_totals(after, later)[0])


def test_intervals_hold_on_games_that_were_not_seen(games: Games, unseen: TotalGames) -> None:
    model = fit_total_model(total_games(games, carry_totals(TotalFilter.start(), games)[0]))
    for index, minute in ((0, 6), (0, 18), (1, 12), (1, 36), (1, 44), (1, 47)):
        made = model.distribution(HORIZONS[index], minute, unseen.at(minute))
        # The residuals of the fit and those of the season vary independently.
        assert_intervals_hold(made, unseen.outcomes[:, index], errors=5)


def test_games_without_points_are_left_out_and_too_few_give_no_totals(games: Games) -> None:
    assert len(games) > MIN_GAMES
    missing = replace(games, final_total=games.final_total.copy())
    missing.final_total[::2] = -1
    expected, after = carry_totals(TotalFilter.start(), missing)
    assert np.isnan(expected[::2]).all()
    assert np.isfinite(expected[1::2]).all()
    assert after.date == games.date[-1]
    fitted = present(fit_totals(missing, 2, ignore))
    assert fitted.models[MarginSource.KNOWN].games == len(games) // 2
    missing.final_total[: len(games) - 900] = -1
    assert fit_totals(missing, 2, ignore) is None


def test_frozen_ratings_expect_the_same_of_a_game_however_the_season_goes(games: Games) -> None:
    _, before = carry_totals(TotalFilter.start(), games)
    season = paced_games(60, range(2024, 2025), seed=9)
    higher = replace(
        season,
        live=with_column(season, "total_points", season.totals + 40),
        final_total=season.final_total + 40,
    )
    assert np.array_equal(frozen_totals(before, season), frozen_totals(before, higher))
    one, other = (carry_totals(before, each)[0] for each in (season, higher))
    first = season.date == season.date[0]
    assert one[first] == pytest.approx(frozen_totals(before, season)[first])
    assert (other[~first] > one[~first]).mean() > 0.9
