from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import MIN_CELL, linear_points, rated_walks, walk_fold
from tests.support.fakes.linear_only_models import plain_calibration, plain_models

from dejavu_models import metrics
from dejavu_models.types import CASES, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.conformal_cells import lead_groups
from dejavu_trainer.evaluation.regions import conformal_region
from dejavu_trainer.evaluation.scoring.baselines import logistic_probabilities
from dejavu_trainer.evaluation.scoring.fold_scores import FORECASTERS, LINE, OF_LINE, STATIC, FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.training.calibrate import point_forecasts
from dejavu_trainer.training.linear import fit_linear


@pytest.fixture(scope="module")
def fold() -> FoldScores:
    return walk_fold(2033)


def test_every_forecaster_is_scored_at_every_minute_of_both_horizons(fold: FoldScores) -> None:
    assert len(CASES) == 23 + 47
    assert set(fold.forecasts) == {*FORECASTERS, *STATIC.values()} - {LINE, *OF_LINE}  # these games have no lines
    for name, each in fold.forecasts.items():
        assert each.probability.shape == (600, 70)
        assert np.isfinite(each.probability).all()
        assert ((each.probability > 0) & (each.probability < 1)).all()
        assert (each.point is None) == (name == "logistic")


@pytest.mark.parametrize(("name", "mode"), [("ensemble", MarginSource.KNOWN), ("no_teams", MarginSource.UNKNOWN)])
@pytest.mark.parametrize(("horizon", "minute"), [(Horizon.HALFTIME, 18), (Horizon.FINAL, 5), (Horizon.FINAL, 47)])
def test_what_is_scored_is_what_would_be_served(
    fold: FoldScores, name: str, mode: MarginSource, horizon: Horizon, minute: int
) -> None:
    """Compares point, probability, interval ends and CRPS with those of the served distribution for each game."""
    rated = rated_walks(600, range(2030, 2034), 0)
    train, calibrate, test = (rated.of_seasons(each) for each in ([2030, 2031], [2032], [2033]))
    models = plain_models(fit_linear(*train))
    served = plain_calibration(models, calibrate, MIN_CELL).distributions[Situation(horizon, minute, mode)]
    place = HORIZONS.index(horizon)
    points = linear_points(models, test, mode, minute)[:, place]
    leads, outcomes = test.games.levels[:, minute - 1], test.games.outcomes[:, place]
    stage, found = CASES.index((place, minute)), fold.forecasts[name]
    assert found.point is not None
    assert found.lower is not None
    assert found.upper is not None
    assert found.crps is not None
    assert found.point[:, stage] == pytest.approx(points, abs=1e-4)
    assert found.probability[:, stage] == pytest.approx(served.home_lead_probability(points, leads), abs=1e-6)
    for game in range(0, 600, 7):
        point, lead = float(points[game]), float(leads[game])
        for column, alpha in enumerate(ALPHAS):
            interval = served.interval(point, lead, alpha)
            assert found.lower[game, stage, column] == pytest.approx(interval.lower, abs=1e-4)
            assert found.upper[game, stage, column] == pytest.approx(interval.upper, abs=1e-4)
        levels = (np.arange(200) + 0.5) / 200
        quantiles = np.array(served.quantiles(point, lead, [*np.clip(levels, 0.02, 0.98)]))
        nearly = metrics.crps([0.0], quantiles, [outcomes[game]])[0]
        assert found.crps[game, stage] == pytest.approx(nearly, abs=0.25)


def test_samples_of_away_leads_are_turned(fold: FoldScores) -> None:
    del fold
    rated = rated_walks(600, range(2030, 2033), 0)
    models = plain_models(fit_linear(*rated))
    served = plain_calibration(models, rated, MIN_CELL).distributions[Situation(Horizon.FINAL, 30, MarginSource.KNOWN)]
    levels = [0.05, 0.3, 0.5, 0.9]
    for lead in (-20.0, -10.0, -1.0, 0.0, 2.0, 12.0, 30.0):
        of_lead = served.residuals_for(lead)
        assert served.quantiles(7.0, lead, levels) == pytest.approx([7.0 + of_lead.quantile(level) for level in levels])


def test_pit_of_true_distributions_is_flat(fold: FoldScores) -> None:
    """Test games are like the calibration games: each tenth contains a tenth up to sampling error, at each minute."""
    pit = fold.forecasts["ensemble"].pit
    assert pit is not None
    assert ((pit > 0) & (pit < 1)).all()
    for stage in (17, 23 + 10, 23 + 40):
        counts = np.histogram(pit[:, stage], 10, (0, 1))[0]
        first, last = conformal_region(600, 600, 0.1, 1 - 0.01 / 30)
        assert (600 - last <= counts).all()
        assert (counts <= 600 - first).all()


def test_persistence_and_the_linear_model_are_what_they_are_called() -> None:
    rated = rated_walks(50, range(2030, 2031), 3)
    models = plain_models(fit_linear(*rated))
    points = point_forecasts(models, rated)
    assert (points["persistence"] == rated.games.levels[:, :, None]).all()
    for minute in (1, 20, 40):
        expected = linear_points(models, rated, MarginSource.KNOWN, minute)
        assert points["linear"][:, minute - 1] == pytest.approx(expected, nan_ok=True)


def test_the_logistic_regression_finds_the_curve_that_chance_follows() -> None:
    """Random walks of normal steps with known drift have a known probability of ending above 0."""
    past, asked = rated_walks(3000, range(2030, 2031), 5), rated_walks(300, range(2031, 2032), 6)
    found = logistic_probabilities(past, asked)
    assert np.isnan(found[:, 23:, 0]).all()
    assert np.isfinite(found[:, :, 1]).all()
    for minute in (12, 36):
        lead, left = asked.games.levels[:, minute - 1], 48 - minute
        mean = lead + asked.margins * left / 48 + 0.05 * left
        truth = np.array(
            [0.5 * (1 + np.tanh(0.8 * m / (2.5 * left**0.5))) for m in mean]
        )  # approximates the normal CDF
        assert np.abs(found[:, minute - 1, 1] - truth).mean() < 0.03


def test_a_regression_on_games_that_all_ended_alike_is_nearly_sure() -> None:
    rated = rated_walks(40, range(2030, 2031), 7)
    won = rated.select(rated.games.final > 0)
    found = logistic_probabilities(won, rated)[:, :, 1]
    assert (found > 0.999).all()
    assert (found < 1).all()


def test_the_cells_counted_are_those_that_intervals_come_from(fold: FoldScores) -> None:
    calibrate = rated_walks(600, range(2030, 2034), 0).of_seasons([2032])
    leads = calibrate.games.levels
    for stage, (_, minute) in enumerate(CASES):
        counts = np.bincount(lead_groups(leads[:, minute - 1]), minlength=4)
        assert (fold.cell_games[stage] >= np.minimum(counts, MIN_CELL)).all()
        assert fold.cell_games[stage].max() <= 600
    assert fold.calibration_games == 600
    assert (fold.train_seasons, fold.calibration_seasons) == ((2030, 2031), (2032,))


def test_frozen_ratings_are_scored_with_the_margins_that_they_give(fold: FoldScores) -> None:
    assert fold.frozen_margins == pytest.approx(fold.margins / 2)
    carried, frozen, unknown = (
        np.abs(fold.forecasts[name].point[:, 30] - fold.outcomes[:, 1]).mean()  # type: ignore[index]
        for name in ("ensemble", "frozen", "no_teams")
    )
    assert carried < frozen < unknown
