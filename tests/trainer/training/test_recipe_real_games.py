"""The standard recipe on real games: the cost of prototypes, and no dependence on games after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dejavu_models.ratings import frozen_margins
from dejavu_models.types import CASES, HORIZONS
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores, score_fold
from dejavu_trainer.pipeline import FitReport, fit
from dejavu_trainer.training.ratings import RatedGames, carry, margin_terms
from dejavu_trainer.training.recipe import TrainingConfig

pytestmark = [pytest.mark.real_data, pytest.mark.nightly, pytest.mark.timeout(1800)]

TRAIN, CALIBRATE, TEST = (2015, 2016), (2017,), (2018,)
PROTOTYPES = 400
"""Prototypes per minute in the shipped bundle."""


@pytest.fixture(scope="module")
def games(data_dir: Path) -> Games:
    return load_games(data_dir, (*TRAIN, *CALIBRATE, *TEST))


def fitted(games: Games, folder: Path, prototypes: int | None) -> FitReport:
    return fit(games, train=TRAIN, calibrate=CALIBRATE, out=folder, recipe=TrainingConfig(prototypes=prototypes))


@pytest.fixture(scope="module")
def condensed(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(games, tmp_path_factory.mktemp("recipe") / "condensed", PROTOTYPES)


@pytest.fixture(scope="module")
def whole(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(games, tmp_path_factory.mktemp("recipe") / "whole", None)


def scored(report: FitReport, games: Games) -> FoldScores:
    """Score the bundle on the season after its calibration."""
    ratings = report.forecaster.rating_filter
    test = games.of_seasons(TEST)
    rated, _ = carry(ratings, test)
    # The inputs of the logistic regression are irrelevant here.
    past = games.of_seasons(CALIBRATE)
    before = RatedGames(past, np.zeros(len(past)))
    return score_fold(
        report.forecaster.models,
        report.forecaster.calibration,
        earlier=before,
        calibrate=before,
        test=rated,
        frozen_margins=frozen_margins(report.forecaster.ratings, test.home, test.away, margin_terms(test)),
    )


def test_condensing_costs_at_most_a_little(condensed: FitReport, whole: FitReport, games: Games) -> None:
    few, all_of_them = (scored(report, games).forecasts["served"].crps for report in (condensed, whole))
    assert few is not None
    assert all_of_them is not None
    for place, horizon in enumerate(HORIZONS):
        stages = [column for column, (at, _) in enumerate(CASES) if at == place]
        ratio = few[:, stages].mean() / all_of_them[:, stages].mean()
        assert ratio < 1.003, f"{horizon.value}: {ratio:.5f}"


def test_a_condensed_bundle_is_small(condensed: FitReport, whole: FitReport) -> None:
    sizes = [sum(file.stat().st_size for file in report.bundle.iterdir()) for report in (condensed, whole)]
    assert sizes[0] < 8_000_000 < sizes[1]


def test_it_beats_persistence_at_both_horizons(condensed: FitReport, games: Games) -> None:
    scores = scored(condensed, games)
    mine, theirs = scores.forecasts["served"].crps, scores.forecasts["persistence"].crps
    assert mine is not None
    assert theirs is not None
    for place in range(len(HORIZONS)):
        stages = [column for column, (at, _) in enumerate(CASES) if at == place]
        assert mine[:, stages].mean() < 0.98 * theirs[:, stages].mean()
