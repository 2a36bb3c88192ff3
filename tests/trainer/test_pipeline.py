from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, fit_quickly, quick_recipe, simulated_games, small_bundle
from tests.trainer.harness import backtest_of

from dejavu_feed.errors import DataError
from dejavu_feed.off_season import is_over
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.verdict import divide, verdict_of
from dejavu_trainer.execution import Progress
from dejavu_trainer.pipeline import FitReport, fit


class CompleteProgress(Progress):
    """A progress whose steps must come to their end.

    Attributes:
        begun: names of the steps.
    """

    def __init__(self) -> None:
        self.begun = list[str]()

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """Run one step."""
        self.begun.append(name)
        done = list[int]()
        yield done.append
        assert sum(done) == total, name


RECIPE = quick_recipe()


@pytest.fixture(scope="module")
def games() -> Games:
    return simulated_games()


@pytest.fixture(scope="module")
def report(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    out, progress = tmp_path_factory.mktemp("fit") / "bundle", CompleteProgress()
    return fit(games, train=[2031, 2032], calibrate=[2033], out=out, recipe=RECIPE, progress=progress)


@pytest.fixture(scope="module")
def forecaster(report: FitReport) -> Forecaster:
    return report.forecaster


def test_the_bundle_says_what_it_was_made_of(report: FitReport, games: Games, forecaster: Forecaster) -> None:
    manifest = forecaster.manifest
    assert manifest == read_manifest(report.bundle)
    assert manifest.data_fingerprint == games.of_seasons([2031, 2032, 2033]).fingerprint
    assert (manifest.train.seasons, manifest.train.games) == ((2031, 2032), 2 * SEASON_GAMES)
    assert (manifest.calibrate.seasons, manifest.calibrate.games) == ((2033,), SEASON_GAMES)
    assert manifest.train.last_date < manifest.calibrate.first_date
    assert manifest.seed == 0
    assert (manifest.verdict.recipe, manifest.verdict.seasons) == (RECIPE.digest, (2033,))
    assert manifest.verdict.fit or manifest.verdict.reason
    assert {"hnswlib", "numpy", "torch"} <= manifest.libraries.keys()


def test_similar_games_are_those_of_the_training_seasons(forecaster: Forecaster, games: Games) -> None:
    train, dejavu = games.of_seasons([2031, 2032]), forecaster.models.dejavu
    assert dejavu is not None
    assert forecaster.info.past_games == len(train)
    assert np.array_equal(dejavu.games.differentials, train.differentials)
    assert np.array_equal(dejavu.games.date, train.date)
    assert (forecaster.info.similar_games, forecaster.info.network_units) == (dejavu.images_a_forecast, 8)
    assert forecaster.info.weights == tuple(forecaster.models.weights.listed())
    assert 5 < forecaster.info.half_width < 40


def test_the_ratings_are_those_of_the_last_game_and_of_its_season_while_that_is_in_play(
    report: FitReport, games: Games, forecaster: Forecaster
) -> None:
    ratings, last = forecaster.manifest.ratings, games.of_seasons([2033]).date[-1].item()
    assert not is_over(2033, last)
    assert (ratings.date, ratings.season) == (last, 2033)
    assert forecaster.rating_filter.newest == last
    learned = forecaster.bundled_ratings.after(GameResult("BOS", "LAL", 2033, last + timedelta(1), 20.0)).ratings
    assert (learned.finals, learned.filter.season) == (1, 2033)
    assert learned.filter.strengths["BOS"] > forecaster.rating_filter.strengths["BOS"]
    strengths = np.array(list(forecaster.rating_filter.strengths.values()))
    assert 0 < strengths.std() < 10


def test_of_several_calibration_seasons_the_last_is_tested_on(games: Games) -> None:
    earlier, later = divide(games.of_seasons([2032, 2033]))
    assert set(games.of_seasons([2032, 2033]).season[later].tolist()) == {2033}
    assert (earlier ^ later).all()
    one = games.of_seasons([2033])
    earlier, later = divide(one)
    assert one.date[earlier].max() < one.date[later].min()
    assert 0.4 * SEASON_GAMES <= later.sum() <= 0.6 * SEASON_GAMES


def test_the_same_games_make_the_same_models_whatever_tested_them_and_a_backtest_gives_the_verdict(
    report: FitReport, tmp_path: Path
) -> None:
    """The other one was made with a backtest in place of a test, by as many threads as there are cores."""
    version, verdict = small_bundle(tmp_path / "other"), read_manifest(tmp_path / "other").verdict
    assert version == report.forecaster.version
    assert (verdict.fit, verdict.reason, verdict.seasons) == (True, "made for tests", (2033,))


def test_what_cannot_be_used_is_refused_before_the_work_begins(games: Games, tmp_path: Path) -> None:
    backtest = backtest_of(tmp_path, replace(RECIPE, rating_steps=7), fit=True)
    unreadable = tmp_path / "unreadable.json"
    unreadable.write_text("[]")
    (tmp_path / "other").mkdir()
    given = games.of_seasons([2031, 2032, 2033])
    other = given.fingerprints | {"2032": given.select(np.arange(len(given) - 1)).fingerprint}
    of_other_games = backtest_of(tmp_path / "other", RECIPE, fit=True, tested=(2032,), data_by_season=other)
    refused: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (DataError, f"not {RECIPE.digest}", {"backtest": backtest}),
        (DataError, r"unreadable\.json: is not the result of a backtest", {"backtest": unreadable}),
        (DataError, r"backtest\.json: is about other games of season 2032 than", {"backtest": of_other_games}),
        (FileExistsError, ".", {"out": tmp_path}),
        (DataError, "2032", {"calibrate": [2032]}),
    ]
    for error, message, changed in refused:
        options = {"calibrate": [2033], "out": tmp_path / "b", **changed}
        with pytest.raises(error, match=message):
            fit(games, train=[2031, 2032], recipe=RECIPE, **options)
    assert not (tmp_path / "b").exists()


def test_a_backtest_that_says_little_about_these_games_is_accepted_with_a_note(games: Games, tmp_path: Path) -> None:
    hashes = games.fingerprints
    assert hashes["2033"] == games.of_seasons([2033]).fingerprint
    for tested, method, note in (
        (2033, {"data_by_season": hashes}, "^$"),
        (2020, {"data_by_season": hashes | {"2020": "f"}}, r"none of the seasons.*\(2020\)"),
        (2033, {}, "does not say which games it is about"),
    ):
        backtest = backtest_of(tmp_path, RECIPE, fit=True, tested=(tested,), **method)
        verdict, found = verdict_of(backtest, RECIPE, games.of_seasons([2031, 2032, 2033]))
        assert verdict.fit
        assert re.search(note, found)


def test_a_bundle_of_teams_whose_ratings_are_uncertain_passes_its_check(games: Games, tmp_path: Path) -> None:
    """Their forecasts are wider than the tables say, as a server gives them."""
    fitted = games.season <= 2033
    last = np.flatnonzero(fitted)[-1]
    teams = games.home[last], games.away[last]
    rare = ~(np.isin(games.home, teams) | np.isin(games.away, teams))
    rare[last] = True
    fit_quickly(games.select(fitted & rare), [2031, 2032], [2033], tmp_path / "bundle")
    model = load_bundle(tmp_path / "bundle", allow_unfit=True)
    named, unnamed = (
        model.forecast(ForecastQuery(ScorePattern((1.0,)), Horizon.FINAL, 0.05, *names)).interval
        for names in (teams, ("", ""))
    )
    assert named.upper - named.lower > unnamed.upper - unnamed.lower
