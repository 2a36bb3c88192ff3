"""The standard recipe on real games: what the components cost, and what it gains over persistence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dejavu_models.types import CASES, HORIZONS
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores, score_fold
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
        frozen_margins=margins_with_frozen_ratings(ratings, test),
    )


def test_similar_games_and_the_network_cost_nothing(report: FitReport, games: Games) -> None:
    forecasts = scored(report, games).forecasts
    served, base = forecasts["static"].crps, forecasts["base"].crps
    assert served is not None
    assert base is not None
    for place, horizon in enumerate(HORIZONS):
        stages = [column for column, (at, _) in enumerate(CASES) if at == place]
        ratio = served[:, stages].mean() / base[:, stages].mean()
        assert ratio < 1.001, f"{horizon.value}: {ratio:.5f}"


def test_it_beats_persistence_at_both_horizons(report: FitReport, games: Games) -> None:
    scores = scored(report, games)
    mine, theirs = scores.forecasts["served"].crps, scores.forecasts["persistence"].crps
    assert mine is not None
    assert theirs is not None
    for place in range(len(HORIZONS)):
        stages = [column for column, (at, _) in enumerate(CASES) if at == place]
        assert mine[:, stages].mean() < 0.98 * theirs[:, stages].mean()
