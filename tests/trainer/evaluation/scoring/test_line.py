"""Forecasts that know the line of a market: fitted, scored and reported beside the same models without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.random_walks import random_walks
from tests.support.fakes.linear_only_models import plain_models

from dejavu_models.types import MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.metrics import compute_metrics
from dejavu_trainer.evaluation.scoring.fold_scores import LINE, OF_LINE, SERVED, FoldScores, score_fold, served
from dejavu_trainer.reports.added_knowledge import added_knowledge as line_tables
from dejavu_trainer.training.calibrate import conformalized, fit_tables
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear
from dejavu_trainer.training.ratings import RatedGames

SEASONS = range(2020, 2024)


def games_with_lines() -> Games:
    """Games of which a market knows half of what decides them, and ratings nothing."""
    games = random_walks(LEAST_LINES // 2, SEASONS)
    noise = np.random.default_rng(2).normal(0, 9, len(games))
    line = (games.final * 0.5 + noise * 0.5).astype(np.float32)
    line[::50] = np.nan
    return replace(games, line=line)


@pytest.fixture(scope="module")
def fold() -> FoldScores:
    games = games_with_lines()
    rated = RatedGames(games, np.random.default_rng(3).normal(0, 4, len(games)))
    past, test = rated.of_seasons([2020, 2021, 2022]), rated.of_seasons([2023])
    models = plain_models(fit_linear(*past, cube=True))
    newest = past.of_seasons([2022])
    calibration = conformalized(fit_tables(past, past.margins / 2), models, newest, newest.margins / 2)
    assert calibration.has_line
    assert calibration.model(MarginSource.LINE).games == np.isfinite(newest.games.line).sum()
    return score_fold(models, calibration, earlier=past, calibrate=newest, test=test, frozen_margins=test.margins / 2)


def test_the_line_is_scored_with_references_that_know_it_too(fold: FoldScores) -> None:
    assert served([fold]) == (*SERVED, LINE)
    assert served([fold, replace(fold, forecasts={name: fold.forecasts[name] for name in SERVED})]) == SERVED
    final = compute_metrics([fold], resamples=100)["final"]
    overall = final["all"]["all"]
    for reference in ("ensemble", *OF_LINE):
        assert overall.relative[LINE][reference]["brier"].value < 0.05
    assert overall.relative[LINE]["ensemble"]["crps"].upper < -0.02
    early, late = (final["minute"][minute].relative[LINE]["ensemble"]["crps"].value for minute in ("1", "42"))
    assert early < late, "the line tells the more the earlier it is"
    by_minute, by_season = line_tables("Final", final)
    assert by_minute.header[:4] == ("minute", "games", "CRPS", "Brier")
    assert [row[0] for row in by_season.rows] == ["2023"]


def test_a_game_without_a_line_is_forecast_as_without_it(fold: FoldScores) -> None:
    without = np.isnan(games_with_lines().select(games_with_lines().season == 2023).line)
    assert 0 < without.sum() < len(fold)
    for name, other in ((LINE, "ensemble"), *zip(OF_LINE, ("linear", "logistic"), strict=True)):
        same = (fold.forecasts[name].probability == fold.forecasts[other].probability).all(axis=1)
        assert same[without].all()
        assert not same[~without].any()


def test_games_without_lines_have_no_tables_of_them(fold: FoldScores) -> None:
    without = {name: each for name, each in fold.forecasts.items() if name not in (LINE, *OF_LINE)}
    final = compute_metrics([replace(fold, forecasts=without)], resamples=20)["final"]
    assert not [*line_tables("Final", final)]
