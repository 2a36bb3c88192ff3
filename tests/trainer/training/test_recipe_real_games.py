"""The standard recipe on real games: what the components cost, and what it gains over persistence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.evaluation.scoring.fold_scores import score_fold
from dejavu_trainer.evaluation.table import MARGINS, Table
from dejavu_trainer.pipeline import FitReport, fit
from dejavu_trainer.training.ratings import RatedGames, carry, margins_with_frozen_ratings

pytestmark = [pytest.mark.real_data, pytest.mark.nightly, pytest.mark.timeout(1800)]

TRAIN, CALIBRATE, TEST = (2015, 2016), (2017,), (2018,)


@pytest.fixture(scope="module")
def games(data_dir: Path) -> Games:
    return load_games(data_dir, (*TRAIN, *CALIBRATE, *TEST))


@pytest.fixture(scope="module")
def report(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fit(games, train=TRAIN, calibrate=CALIBRATE, out=tmp_path_factory.mktemp("recipe") / "bundle")


@pytest.fixture(scope="module")
def table(report: FitReport, games: Games) -> Table:
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
        frozen_margins=margins_with_frozen_ratings(ratings, test),
    )


@pytest.mark.parametrize(
    ("forecaster", "reference", "most"), [("static", "base", 1.001), ("served", "persistence", 0.98)]
)
@pytest.mark.parametrize("target", MARGINS.values())
def test_similar_games_and_the_network_cost_nothing_and_persistence_is_beaten(
    table: Table, target: str, forecaster: str, reference: str, most: float
) -> None:
    mine, theirs = (table.of(target, f"{name}.crps").mean() for name in (forecaster, reference))
    assert mine < most * theirs
