from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from tests.support.builders.folds import linear_points, rated_walks, walk_fold, walk_models
from tests.support.builders.similar_games import steady_lstm, walks_database

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.types import CASES, HORIZONS, AdaptationMode, Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import Tracker
from dejavu_models.uncertainty.issued import IntervalAdapter, IssuedDistribution
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration, Situation
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.coverage import conformal_region
from dejavu_trainer.evaluation.scoring.baselines import logistic_probabilities, persistence_baseline
from dejavu_trainer.evaluation.scoring.fold_scores import (
    FORECASTERS,
    LINE,
    OF_LINE,
    PARTS,
    PLAYERS,
    SERVED,
    STATIC,
    FoldScores,
    score_fold,
)
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.evaluation.scoring.lattice_scores import season_factors
from dejavu_trainer.training import linear
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.served_tables import ServedTables, live_inputs


@pytest.fixture(scope="module")
def fold() -> FoldScores:
    return walk_fold(2033, games=500)


class ServedWalks(NamedTuple):
    """The models that forecast the games of the fold, and the factors of the season before each game, (n, 2)."""

    models: Ensemble
    calibration: LatticeCalibration
    test: RatedGames
    factors: Floats


@pytest.fixture(scope="module")
def served_walks() -> ServedWalks:
    test = rated_walks(500, range(2030, 2034), 0).of_seasons([2033])
    models, calibration = walk_models(2033, 500, 0)
    known = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test)
    factors = season_factors(linear.linear_points(models.linear, test), known, test.margins)
    assert (np.abs(factors[-1] - 1) > 0.002).all(), "they make a difference"
    return ServedWalks(models, calibration, test, factors)


def test_every_forecaster_is_scored_at_every_minute_of_both_horizons(fold: FoldScores) -> None:
    assert len(CASES) == 23 + 47
    unknown = {*PARTS, PLAYERS, LINE, *OF_LINE}  # of these games and models
    assert set(fold.forecasts) == {*FORECASTERS, *STATIC.values()} - unknown
    for name, each in fold.forecasts.items():
        assert each.probability.shape == (500, 70)
        # In single precision, a probability of the tables may round to 0 or 1.
        assert ((each.probability >= 0) & (each.probability <= 1)).all()
        for column, (horizon, _) in enumerate(CASES):
            assert np.isfinite(metrics.log_loss(each.probability[:, column], fold.outcomes[:, horizon] > 0)).all()
        assert (each.point is None) == (name == "logistic")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("served", MarginSource.KNOWN),
        ("static", MarginSource.KNOWN),
        ("frozen", MarginSource.RATED),
        ("static_frozen", MarginSource.RATED),
        ("no_teams", MarginSource.UNKNOWN),
    ],
)
@pytest.mark.parametrize(("horizon", "minute"), [(Horizon.HALFTIME, 18), (Horizon.FINAL, 5), (Horizon.FINAL, 47)])
def test_what_is_scored_is_what_would_be_served(
    fold: FoldScores,
    served_walks: ServedWalks,
    name: str,
    source: MarginSource,
    horizon: Horizon,
    minute: int,
) -> None:
    """Point, probability, interval ends and CRPS are those of the served distribution, in every seventh game."""
    models, calibration, test, factors = served_walks
    place = HORIZONS.index(horizon)
    points = linear_points(models, test, source, minute)[:, place]
    margins = {MarginSource.KNOWN: test.margins, MarginSource.RATED: test.margins / 2}.get(source)
    leads, outcomes = test.games.levels[:, minute - 1], test.games.outcomes[:, place]
    live, _ = live_inputs(test.games, LiveKind.SCORES)
    stage, found = CASES.index((place, minute)), fold.forecasts[name]
    assert found.point is not None
    assert found.lower is not None
    assert found.upper is not None
    assert found.crps is not None
    for game in range(0, 500, 7):
        situation = Situation(horizon, minute, source)
        of_game = live[[game], minute - 1]
        point = float(points[game]) + calibration.shift(situation, of_game)
        margin = None if margins is None else float(margins[game])
        distribution = calibration.game(situation, point, float(leads[game]), margin, of_game)
        served = IssuedDistribution(distribution, None, None)
        if name in SERVED:
            adapter = IntervalAdapter(Tracker(), float(factors[game, place]))
            served = IssuedDistribution(distribution, AdaptationMode.ON, adapter)
        assert found.point[game, stage] == pytest.approx(point, abs=1e-4)
        assert found.probability[game, stage] == pytest.approx(served.home_lead_probability(), abs=1e-6)
        for column, alpha in enumerate(ALPHAS):
            adapted = served.adaptation(alpha, served.static(alpha))
            interval = served.static(alpha) if adapted is None else adapted.adapted
            assert (found.lower[game, stage, column], found.upper[game, stage, column]) == (
                interval.lower,
                interval.upper,
            )
        levels = (np.arange(200) + 0.5) / 200
        quantiles = np.array([each.value for each in served.quantiles(levels.tolist())])
        nearly = metrics.crps([0.0], quantiles, [outcomes[game]])[0]
        assert found.crps[game, stage] == pytest.approx(nearly, abs=0.05)


def test_the_components_alone_and_other_weights_stand_beside_what_is_served(
    fold: FoldScores, served_walks: ServedWalks
) -> None:
    linear, calibration, test, _ = served_walks
    earlier, some = rated_walks(500, range(2030, 2034), 0).of_seasons([2032]), test.select(np.arange(500) < 40)
    weights = Weights.fixed(*PARTS["documents"].values[0, 0].tolist())
    models = Ensemble(linear.linear, walks_database(), steady_lstm(0.5, 0.1), weights)
    scores = score_fold(
        models, calibration, earlier=earlier, calibrate=earlier, test=some, frozen_margins=some.margins
    ).forecasts
    points = {name: scores[name].point for name in ("static", *PARTS)}
    assert points["base"] == pytest.approx(fold.forecasts["static"].point[:40])  # type: ignore[index]
    assert points["documents"] == pytest.approx(points["static"])
    assert points["documents"] == pytest.approx(0.4 * points["dejavu"] + 0.6 * points["lstm"], abs=1e-4)  # type: ignore[operator]
    for name in PARTS:
        assert (scores[name].crps is None) is False
        for other in PARTS:
            assert name == other or not np.allclose(scores[name].probability, scores[other].probability)


def test_pit_of_true_distributions_is_flat(fold: FoldScores) -> None:
    """Test games are like the calibration games: up to sampling error, each tenth of 0 to 1 has a tenth of the values.

    Checked after minute 18 for the half, and after minutes 11 and 41 for the end.
    """
    pit = fold.forecasts["served"].pit
    assert pit is not None
    assert ((pit > 0) & (pit <= 1)).all()  # in single precision
    for stage in (17, 23 + 10, 23 + 40):
        counts = np.histogram(pit[:, stage], 10, (0, 1))[0]
        first, last = conformal_region(500, 500, 0.1, 1 - 0.01 / 30)
        assert (500 - last <= counts).all()
        assert (counts <= 500 - first).all()


def test_persistence_and_the_linear_model_are_what_they_are_called() -> None:
    rated = rated_walks(50, range(2030, 2031), 3)
    models = Ensemble(fit_linear(*rated))
    assert (persistence_baseline(rated, rated)[0] == rated.games.levels[:, :, None]).all()
    points = linear.linear_points(models.linear, rated)
    for minute in (1, 20, 40):
        expected = linear_points(models, rated, MarginSource.KNOWN, minute)
        assert points[:, minute - 1] == pytest.approx(expected, nan_ok=True)


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


def test_the_games_counted_are_those_that_calibrate_by_the_size_of_their_lead(fold: FoldScores) -> None:
    calibrate = rated_walks(500, range(2030, 2034), 0).of_seasons([2032])
    leads = calibrate.games.levels
    for stage, (_, minute) in enumerate(CASES):
        assert fold.cell_games[stage].tolist() == np.bincount(lead_groups(leads[:, minute - 1]), minlength=4).tolist()
    assert fold.calibration_games == 500
    assert (fold.train_seasons, fold.calibration_seasons) == ((2030, 2031), (2032,))


def test_frozen_ratings_are_scored_with_the_margins_that_they_give(fold: FoldScores) -> None:
    assert fold.frozen_margins == pytest.approx(fold.margins / 2)
    carried, frozen, unknown = (
        np.abs(fold.forecasts[name].point[:, 30] - fold.outcomes[:, 1]).mean()  # type: ignore[index]
        for name in ("served", "frozen", "no_teams")
    )
    assert carried < frozen < unknown
