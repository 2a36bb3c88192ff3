"""Forecasts that know the line of a market, or who plays: scored and reported beside the same models without."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from tests.support.builders.box_scores import with_box_scores
from tests.support.builders.folds import figure
from tests.support.builders.random_walks import random_walks

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.player_ratings import LineupWeights, PlayerRatings
from dejavu_models.types import Horizon, MarginSource
from dejavu_trainer.data.box_scores import no_box_scores
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.scoring.fold_scores import LINE, PLAYERS, REFERENCES, SERVED, score_fold, served
from dejavu_trainer.evaluation.table import Table
from dejavu_trainer.reports.backtest import fair_tables
from dejavu_trainer.training.calibrate import conformalized, fit_tables
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear
from dejavu_trainer.training.players import rate_players
from dejavu_trainer.training.ratings import RatedGames

SEASONS = range(2020, 2024)
GAMES = LEAST_LINES * 7 // 20
"""Games per season: the three seasons before the last have enough lines together."""
WITHOUT = 7
"""One game in this many has no box score."""


def games_with_lines() -> Games:
    """Games about whose finals the lines contain information and the ratings none; with box scores."""
    games = with_box_scores(random_walks(GAMES, SEASONS))
    games.box_scores[::WITHOUT] = no_box_scores(len(games))[::WITHOUT]
    noise = np.random.default_rng(2).normal(0, 9, len(games))
    line = (games.final * 0.5 + noise * 0.5).astype(np.float32)
    line[::50] = np.nan
    return replace(games, line=line)


@pytest.fixture(scope="module")
def fold() -> Table:
    games = games_with_lines()
    rated = RatedGames(games, np.random.default_rng(3).normal(0, 4, len(games)))
    past, test = rated.of_seasons([2020, 2021, 2022]), rated.of_seasons([2023])
    models = Ensemble(fit_linear(*past, curved=True))
    newest = past.of_seasons([2022])
    calibration = conformalized(fit_tables(past, past.margins / 2), models, newest, newest.margins / 2)
    assert calibration.has_line
    assert calibration.model(MarginSource.LINE).games == np.isfinite(newest.games.line).sum()
    players = replace(rate_players(PlayerRatings(), past.games)[1], weights=LineupWeights(1.0, 0.3, -0.2))
    frozen = test.margins / 2
    return score_fold(
        models, calibration, earlier=past, calibrate=newest, test=test, frozen_margins=frozen, players=players
    )


@pytest.fixture(scope="module")
def figures(fold: Table) -> Figures:
    return Figures(fold, resamples=50)


@pytest.mark.nightly
def test_what_is_added_is_scored_with_references_that_know_it_too(fold: Table, figures: Figures) -> None:
    assert served(fold) == (*SERVED, PLAYERS, LINE)
    for name, reference in product((PLAYERS, LINE), ("served", *REFERENCES)):
        known = reference if reference == "served" else f"{reference}_{name}"
        assert figure(figures, "final", name, "brier", known).value < 0.05
    assert figure(figures, "final", LINE, "crps", "served").upper < -0.02
    early, late = (
        figure(figures, "final", LINE, "crps", "served", kind="minute", group=minute).value for minute in ("1", "42")
    )
    assert early < late, "the line tells the more the earlier it is"
    fair = {table.title: table for table in fair_tables(figures)}
    assert list(fair) == [f"Against references that know {what} too" for what in ("ratings", "who plays", "the line")]
    for table in fair.values():
        assert all(len(row) == len(table.header) for row in table.rows)


@pytest.mark.nightly
@pytest.mark.parametrize(("knows", "least", "most"), [(LINE, 1, 0), (PLAYERS, 0.99, 0.5)])
def test_games_of_which_it_is_not_known_are_forecast_as_without_it(
    fold: Table, knows: str, least: float, most: float
) -> None:
    """The factor of the season moves few points of games without line-ups."""
    test = games_with_lines().of_seasons([2023])
    lacking = np.isnan(test.line) if knows == LINE else np.array([not lines for lines in test.box_scores])
    assert 0 < lacking.sum() < len(fold)
    names = [(knows, "served"), *((f"{name}_{knows}", name) for name in REFERENCES if knows == LINE)]
    for name, other in names:
        column = "point" if knows == PLAYERS else "probability"
        same = np.equal(*(fold.by_minute(Horizon.FINAL, f"{each}.{column}") for each in (name, other)))
        assert same[lacking].mean() >= least
        assert same[~lacking].all(axis=1).mean() <= most
