"""Forecasts that know the line of a market, or who plays: scored and reported beside the same models without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.box_scores import made_box_score
from tests.support.builders.folds import walk_fold
from tests.support.builders.random_walks import random_walks

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.player_ratings import LineupWeights, PlayerRatings
from dejavu_models.types import MarginSource
from dejavu_trainer.data.box_scores import no_box_scores
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.metrics import GroupMetrics, compute_metrics
from dejavu_trainer.evaluation.scoring.fold_scores import LINE, OF_LINE, PLAYERS, SERVED, FoldScores, score_fold, served
from dejavu_trainer.reports.backtest import added_knowledge
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
    games = random_walks(GAMES, SEASONS)
    box_scores = no_box_scores(len(games))
    for row in range(len(games)):
        teams = str(games.home[row]), str(games.away[row])
        box_scores[row] = made_box_score(*teams, int(games.final[row]), row) if row % WITHOUT else ()
    games = replace(games, box_scores=box_scores)
    noise = np.random.default_rng(2).normal(0, 9, len(games))
    line = (games.final * 0.5 + noise * 0.5).astype(np.float32)
    line[::50] = np.nan
    return replace(games, line=line)


COMPONENTS_TITLE = "Final: other weights of the components, by minute"


@pytest.fixture(scope="module")
def fold() -> FoldScores:
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
def final(fold: FoldScores) -> dict[str, dict[str, GroupMetrics]]:
    """Figures of the end of the games."""
    return compute_metrics([fold], resamples=50)["final"]


@pytest.mark.nightly
def test_the_line_is_scored_with_references_that_know_it_too(
    fold: FoldScores, final: dict[str, dict[str, GroupMetrics]]
) -> None:
    assert served([fold]) == (*SERVED, PLAYERS, LINE)
    assert served([fold, replace(fold, forecasts={name: fold.forecasts[name] for name in SERVED})]) == SERVED
    overall = final["all"]["all"]
    for reference in ("served", *OF_LINE):
        assert overall.relative[LINE][reference]["brier"].value < 0.05
    assert overall.relative[LINE]["served"]["crps"].upper < -0.02
    early, late = (final["minute"][minute].relative[LINE]["served"]["crps"].value for minute in ("1", "42"))
    assert early < late, "the line tells the more the earlier it is"
    *_, by_minute, by_season, _ = added_knowledge("Final", final)
    assert by_minute.header[:4] == ("minute", "games", "CRPS", "Brier")
    assert [row[0] for row in by_season.rows] == ["2023"]


@pytest.mark.nightly
def test_a_game_without_a_line_is_forecast_as_without_it(fold: FoldScores) -> None:
    without = np.isnan(games_with_lines().select(games_with_lines().season == 2023).line)
    assert 0 < without.sum() < len(fold)
    for name, other in ((LINE, "served"), *zip(OF_LINE, ("linear", "logistic"), strict=True)):
        same = (fold.forecasts[name].probability == fold.forecasts[other].probability).all(axis=1)
        assert same[without].all()
        assert not same[~without].any()


@pytest.mark.nightly
def test_a_game_whose_line_ups_are_not_known_is_forecast_as_without_them(
    fold: FoldScores, final: dict[str, dict[str, GroupMetrics]]
) -> None:
    test = games_with_lines().select(games_with_lines().season == 2023)
    unknown = np.array([not lines for lines in test.box_scores])
    known, plain = (fold.forecasts[name].point for name in (PLAYERS, "served"))
    assert known is not None
    assert plain is not None
    same = np.equal(known, plain)
    assert same[unknown].mean() > 0.99, "the factor of the season moves few points"
    assert same[~unknown].mean() < 0.5
    overall = final["all"]["all"]
    assert overall.relative[PLAYERS].keys() == {"served", "persistence", "linear", "logistic"}
    assert [table.title for table in added_knowledge("Final", final)] == [
        *(f"Final: {what}, by {kind}" for what in ("with who plays", "with the line") for kind in ("minute", "season")),
        COMPONENTS_TITLE,
    ]


def test_what_is_not_known_has_no_tables() -> None:
    fold = walk_fold()
    assert not fold.forecasts.keys() & {PLAYERS, LINE, *OF_LINE}
    final = compute_metrics([fold], resamples=20)["final"]
    [components] = added_knowledge("Final", final)
    assert components.title == COMPONENTS_TITLE
    [row] = [row for row in components.rows if row[0] == "all"]
    assert not any(row[3:]), "these models have no components"
