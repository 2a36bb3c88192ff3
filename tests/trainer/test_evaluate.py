from __future__ import annotations

import dataclasses
import io
import json
from datetime import UTC, date, datetime

import numpy as np
import pytest
from rich.console import Console

from dejavu_models import scores
from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.dejavu import Neighbourhoods
from dejavu_models.forecaster import Forecaster
from dejavu_models.stage import StagePredictions
from dejavu_models.types import Horizon, ModelInfo
from dejavu_trainer import evaluate as evaluation
from dejavu_trainer.evaluate import ALPHAS, Evaluation
from dejavu_trainer.games import DataError, Games
from dejavu_trainer.report import print_evaluation

CALIBRATED_ON, NEW = 2030, 2031


def evaluate(forecaster: Forecaster, games: Games, calibration: Games, seed: int = 0) -> Evaluation:
    """With few resamples: the tests look at values, and at intervals only roughly."""
    return evaluation.evaluate(forecaster, games, calibration, seed=seed, resamples=200)


def random_walks(season: int, games: int, seed: int) -> Games:
    """Games whose differential moves by a whole number of points each minute."""
    steps = np.random.default_rng(seed).integers(-4, 5, size=(games, 48))
    differentials = steps.cumsum(axis=1).astype(np.int16)
    return Games(
        game_id=np.array([f"{season}01010{index:03}" for index in range(games)]),
        season=np.full(games, season, dtype=np.int16),
        date=np.full(games, date(season, 1, 1), dtype="datetime64[D]"),
        home=np.full(games, "BOS"),
        away=np.full(games, "BKN"),
        differentials=differentials,
        final=differentials[:, -1],
    )


class Shifted(Forecaster):
    """Forecasts persistence plus an offset for each model: what each figure must be can be worked out by hand."""

    def __init__(self, calibration: Games, *, seen: tuple[int, ...] = (2029,)) -> None:
        self._seen = seen
        self._games = len(calibration)
        patterns = calibration.differentials[:, :18].astype(float)
        ensemble = self.predict_arrays(patterns).ensemble
        self._scores = ConformalScores.of(calibration.differentials[:, 23].astype(float), ensemble)

    @property
    def version(self) -> str:
        return "0123456789abcdef"

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            version=self.version,
            horizons=(),
            smallest_alpha=self._scores.smallest_alpha,
            train_seasons=self._seen,
            calibration_seasons=(CALIBRATED_ON,),
            train_games=1,
            calibration_games=self._games,
            database_entries=1,
            created_time=datetime(2030, 7, 1, tzinfo=UTC),
            metrics=(),
        )

    def predict_arrays(self, patterns: Floats, horizon: Horizon = Horizon.HALFTIME) -> StagePredictions:
        last = patterns[:, -1]
        none = Neighbourhoods(np.empty((0, 0), dtype=np.int64), np.empty((0, 0)), np.empty(0))
        return StagePredictions(last, dejavu=last + 2.0, lstm=last - 0.25, ensemble=last + 0.25, neighbourhoods=none)

    def scores(self, slots: int, horizon: Horizon = Horizon.HALFTIME) -> ConformalScores:
        assert slots == 18
        return self._scores


@pytest.fixture(scope="module")
def calibration() -> Games:
    return random_walks(CALIBRATED_ON, 600, seed=1)


@pytest.fixture(scope="module")
def games() -> Games:
    return random_walks(NEW, 500, seed=2)


@pytest.fixture(scope="module")
def found(games: Games, calibration: Games) -> Evaluation:
    return evaluate(Shifted(calibration), games, calibration)


def test_errors_are_those_of_each_models_forecasts(found: Evaluation, games: Games) -> None:
    increment = (games.differentials[:, 23] - games.differentials[:, 17]).astype(float)
    offsets = {"ensemble": 0.25, "dejavu": 2.0, "lstm": -0.25, "persistence": 0.0}
    assert found.overall.models.keys() == offsets.keys()
    for name, offset in offsets.items():
        figures = found.overall.models[name]
        assert figures.mae.value == pytest.approx(np.abs(increment - offset).mean())
        assert figures.rmse.value == pytest.approx(np.sqrt(np.square(increment - offset).mean()))
        assert figures.mae.lower < figures.mae.value < figures.mae.upper


def test_differences_are_paired_with_persistence_on_the_same_games(found: Evaluation) -> None:
    dejavu, persistence = found.overall.models["dejavu"], found.overall.models["persistence"]
    for metric in ("mae", "rmse", "crps", "brier"):
        difference = getattr(dejavu, f"{metric}_difference")
        assert difference.value == pytest.approx(getattr(dejavu, metric).value - getattr(persistence, metric).value)
        assert getattr(persistence, f"{metric}_difference") is None
    assert dejavu.mae_ratio is not None
    assert dejavu.mae_ratio.value == pytest.approx(dejavu.mae.value / persistence.mae.value)
    assert dejavu.mae_difference is not None
    assert dejavu.mae_difference.upper - dejavu.mae_difference.lower < dejavu.mae.upper - dejavu.mae.lower


def test_each_model_is_calibrated_for_itself(found: Evaluation) -> None:
    """Signed residuals take an offset of the forecasts back: distributions and intervals do not suffer from it."""
    figures = found.overall.models
    assert figures["dejavu"].crps.value == pytest.approx(figures["persistence"].crps.value)
    assert figures["dejavu"].brier.value == pytest.approx(figures["persistence"].brier.value)
    for mine, baseline in zip(figures["dejavu"].intervals, figures["persistence"].intervals, strict=True):
        assert mine.width.value == pytest.approx(baseline.width.value)
        assert mine.coverage.value == pytest.approx(baseline.coverage.value)
        assert mine.winkler_difference is not None
        assert mine.winkler_difference.value == pytest.approx(0.0)


def test_interval_figures_are_those_of_the_served_intervals(
    found: Evaluation, games: Games, calibration: Games
) -> None:
    served = Shifted(calibration).scores(18)
    for figures in found.overall.models["ensemble"].intervals:
        intervals = [served.interval(last + 0.25, figures.alpha) for last in games.differentials[:, 17]]
        held = [half in interval for half, interval in zip(games.differentials[:, 23], intervals, strict=True)]
        assert figures.coverage.value == pytest.approx(np.mean(held))
        assert figures.width.value == pytest.approx(np.mean([it.upper - it.lower for it in intervals]))


def test_a_coverage_agrees_where_chance_alone_could_have_made_it(found: Evaluation) -> None:
    for model in found.overall.models.values():
        assert [each.alpha for each in model.intervals] == list(ALPHAS)
        for each in model.intervals:
            first, last = scores.binomial_region(500, each.nominal_coverage)
            assert each.region == (first / 500, last / 500)
            least, most = scores.conformal_region(500, found.calibration_games, each.alpha)
            assert each.conformal_region == (least / 500, most / 500)
            assert each.agrees_conformal == (least <= round(each.coverage.value * 500) <= most)
            assert each.agrees == (first <= round(each.coverage.value * 500) <= last)


def test_intervals_made_for_other_games_are_told_not_to_agree(calibration: Games, games: Games) -> None:
    wilder = dataclasses.replace(games, differentials=(games.differentials * 3).astype(np.int16))
    found = evaluate(Shifted(calibration), wilder, calibration)
    assert not any(each.agrees for each in found.overall.models["ensemble"].intervals)


def test_groups_by_lead_share_out_the_games(found: Evaluation, games: Games) -> None:
    lead = np.abs(games.differentials[:, 17])
    expected = [(lead <= 3).sum(), ((lead >= 4) & (lead <= 8)).sum(), ((lead >= 9) & (lead <= 15)).sum()]
    assert [group.name for group in found.by_lead] == ["0-3", "4-8", "9-15", "16+"]
    assert [group.games for group in found.by_lead] == [*expected, (lead >= 16).sum()]
    assert sum(group.games for group in found.by_lead) == found.overall.games == 500


def test_the_regions_of_groups_are_wider_for_being_many(found: Evaluation) -> None:
    group = found.by_lead[0]
    low, high = group.models["ensemble"].intervals[0].region
    first, last = scores.binomial_region(group.games, 0.95, level=1 - 0.01 / 4)
    assert (low, high) == (first / group.games, last / group.games)


def test_a_group_without_games_has_no_figures(calibration: Games, games: Games) -> None:
    level = dataclasses.replace(games, differentials=np.zeros_like(games.differentials))
    found = evaluate(Shifted(calibration), level, calibration)
    assert [(group.games, bool(group.models)) for group in found.by_lead] == [(500, True), *[(0, False)] * 3]
    print_evaluation(Console(file=io.StringIO()), found)


@pytest.mark.parametrize(
    ("trained_on", "season", "seen"),
    [((2029,), NEW, None), ((NEW,), NEW, "train"), ((2029,), CALIBRATED_ON, "calibrate")],
)
def test_a_season_that_the_bundle_has_seen_is_marked(
    calibration: Games, trained_on: tuple[int, ...], season: int, seen: str | None
) -> None:
    found = evaluate(Shifted(calibration, seen=trained_on), random_walks(season, 50, seed=3), calibration)
    assert found.seen == seen
    out = io.StringIO()
    print_evaluation(Console(file=out, width=200), found)
    assert ("!!" in out.getvalue()) == (seen is not None)


def test_other_calibration_games_than_the_bundles_are_refused(calibration: Games, games: Games) -> None:
    forecaster = Shifted(calibration)
    for other in (random_walks(CALIBRATED_ON, 600, seed=9), calibration.select(np.arange(599))):
        with pytest.raises(DataError, match="not those that bundle 0123456789abcdef was calibrated on"):
            evaluate(forecaster, games, other)


def test_levels_that_the_calibration_can_not_have_are_left_out(games: Games) -> None:
    few = random_walks(CALIBRATED_ON, 20, seed=1)  # the smallest alpha is 2/21
    found = evaluate(Shifted(few), games, few)
    assert [each.alpha for each in found.overall.models["ensemble"].intervals] == [0.2, 0.5]


def test_the_same_seed_gives_the_same_document_and_it_is_json(
    found: Evaluation, games: Games, calibration: Games
) -> None:
    document = json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert document == json.dumps(dataclasses.asdict(evaluate(Shifted(calibration), games, calibration)))
    assert document != json.dumps(dataclasses.asdict(evaluate(Shifted(calibration), games, calibration, seed=1)))


def test_the_report_for_people_gives_the_verdicts(found: Evaluation) -> None:
    out = io.StringIO()
    print_evaluation(Console(file=out, width=80), found)
    text = out.getvalue()
    for model in ("Ensemble", "Dejavu", "LSTM", "Persistence"):
        assert model in text
    assert "× persistence" in text
    assert "Coverage at 95 %" in text
    assert f"{found.overall.models['ensemble'].mae.value:.3f}" in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("drift", "verdict"), [(0.0, "does not beat it"), (3.0, "beats it"), (-3.0, "worse than repeating the score")]
)
def test_the_verdict_follows_the_paired_difference(
    calibration: Games, games: Games, drift: float, verdict: str
) -> None:
    """The ensemble forecasts a quarter of a point above persistence: which is wise if scores drift upwards."""
    drifted = games.differentials.copy()
    drifted[:, 23] += np.int16(drift)
    found = evaluate(Shifted(calibration), dataclasses.replace(games, differentials=drifted), calibration)
    out = io.StringIO()
    print_evaluation(Console(file=out, width=200), found)
    assert verdict in out.getvalue()


def test_a_handful_of_games_has_figures_but_no_ratio_to_nothing(calibration: Games, games: Games) -> None:
    one = games.select(np.arange(1))
    still = dataclasses.replace(one, differentials=np.zeros_like(one.differentials))
    found = evaluate(Shifted(calibration), still, calibration)
    assert found.overall.models["ensemble"].mae_ratio is None
    assert found.overall.models["ensemble"].mae.value == 0.25
    print_evaluation(Console(file=io.StringIO()), found)
