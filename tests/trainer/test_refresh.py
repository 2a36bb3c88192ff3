"""Refreshed ratings: as a server would have updated them, in a bundle that is otherwise the same."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import sealed, simulated_games, simulated_seasons, small_bundle
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.present import present
from tests.trainer.harness import told

from dejavu_feed.errors import DataError
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.manifest import TOTALS
from dejavu_models.totals import Totals
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle, publish, read_files, read_manifest
from dejavu_trainer.pipeline import refresh_ratings, results_of
from dejavu_trainer.training.totals import carry_totals

QUERY = ForecastQuery(ScorePattern(tuple(float(minute % 5) for minute in range(20))), Horizon.FINAL, 0.2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose ratings end with the season 2033."""
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def newest() -> list[GameResult]:
    """Return the results of the season 2034."""
    return results_of(simulated_games().of_seasons([2034]))


def test_it_learns_what_a_server_would_have_and_changes_nothing_else(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "refreshed"
    document = told("refresh", bundle, "--from", simulated_seasons(), "--out", out, "--json").document
    old, new = load_bundle(bundle), load_bundle(out)
    live = RatedSchedule(LiveRatings.start(old.rating_filter))
    for result in newest():
        live = live.after(result)
    assert np.array_equal(new.rating_filter.mean, live.ratings.filter.mean)
    assert new.rating_filter.strengths != old.rating_filter.strengths
    assert (old.rating_filter.season, old.rating_filter.awaits_season) == (2033, False)
    assert (new.rating_filter.season, new.rating_filter.awaits_season) == (2034, False)
    assert new.manifest.refresh is not None
    assert (new.manifest.refresh.games, new.manifest.refresh.of_version) == (len(newest()), old.version)
    assert document["ratings_date"] == new.manifest.ratings.date.isoformat() == newest()[-1].day.isoformat()
    assert (document["model_version"], document["games"]) == (new.version, len(newest()))
    for name in ("train", "calibrate", "data_fingerprint", "verdict", "metrics", "seed"):
        assert getattr(new.manifest, name) == getattr(old.manifest, name)
    changed = {name for name, sha256 in new.manifest.files.items() if old.manifest.files[name] != sha256}
    assert changed == {"ratings.npz"}
    assert new.forecast(QUERY).interval == old.forecast(QUERY).interval
    refresh_ratings(bundle, newest(), tmp_path / "again", date(2034, 6, 30))
    assert read_manifest(tmp_path / "again").version == new.version != old.version


def test_by_default_the_bundle_is_replaced_and_then_there_is_nothing_newer(bundle: Path) -> None:
    version, file = read_manifest(bundle).version, simulated_seasons() / "plays_2034.parquet"
    assert f"of version {version}" in " ".join(told("refresh", bundle, "--from", file).out.split())
    refreshed = read_manifest(bundle)
    assert refreshed.version != version
    done = told("refresh", bundle, "--from", file, "--json")
    assert f"no game after {refreshed.ratings.date}, the newest final that its ratings know; nothing was" in done.err
    assert (done.code, done.document["games"]) == (0, 0)
    assert read_manifest(bundle) == refreshed


def test_once_a_season_is_over_the_ratings_are_for_the_next_one_and_nearer_to_each_other(
    bundle: Path, tmp_path: Path
) -> None:
    for today, season in ((date(2034, 6, 30), 2034), (date(2034, 9, 1), 2035)):
        refresh_ratings(bundle, newest(), tmp_path / str(season), today)
    in_play, over = (load_bundle(tmp_path / str(season)) for season in (2034, 2035))
    assert (in_play.manifest.ratings.season, over.manifest.ratings.season) == (2034, 2035)
    assert (in_play.rating_filter.awaits_season, over.rating_filter.awaits_season) == (False, True)
    assert np.ptp([*over.rating_filter.strengths.values()]) < np.ptp([*in_play.rating_filter.strengths.values()])


def test_seasons_without_games_are_found(bundle: Path, tmp_path: Path) -> None:
    later = [each._replace(season=2037, day=each.day + timedelta(days=3 * 365)) for each in newest()]
    refresh = refresh_ratings(bundle, [*newest(), *later], tmp_path / "out", date(2037, 6, 30))
    assert refresh.missing_seasons == (2035, 2036)


def test_a_refresh_carries_the_ratings_of_totals_and_keeps_their_tables(bundle: Path, tmp_path: Path) -> None:
    manifest, games = read_manifest(bundle), simulated_games()
    shipped = present(shipped_bundle().totals)
    _, before = carry_totals(shipped.ratings.predict(2033), games.of_seasons([2033]))
    totals = Totals(shipped.models, before)
    contents = read_files(bundle, manifest) | {TOTALS: totals.to_bytes()}
    publish(bundle, sealed(manifest, contents), contents)
    new = present(refresh_ratings(bundle, newest(), tmp_path / "refreshed", date(2034, 6, 30)).forecaster.totals)
    _, after = carry_totals(totals.ratings, games.of_seasons([2034]))
    assert new.ratings.date == np.datetime64(newest()[-1].day)
    # A day's games are updated one after the other in both, and each day once.
    assert new.ratings.mean == pytest.approx(after.mean, abs=1e-9)
    for source, model in totals.models.items():
        assert np.array_equal(new.models[source].point, model.point)


def of(home: str = "DET", away: str = "NYK", margin: int = 6, total: int | None = None, **changed: Any) -> GameResult:
    """Return a result of the season 2034."""
    return GameResult(home, away, 2034, date(2033, 11, 1), margin, False, total)._replace(**changed)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ([of(margin=400)], "NYK @ DET of 2033-11-01 with a final differential of 400; expected 1 to 80 points"),
        ([of(away="XXX")], "XXX is no NBA code"),
        ([of(away="DET")], "expected two teams"),
        ([of(total=4)], "4 total points; expected 6"),
        ([of(total=201)], "201 total points; expected an even"),
        ([of(day=date(2034, 1, 1))], "expected games until today, 2033-12-31"),
        ([of(season=2099)], "season 2099; expected 2034"),
        ([of(away="NYK", margin=60), of(away="BOS", margin=60)], "the results have DET in 2 games on 2033-11-01"),
        # A bundle knows all teams up to one date: that of two teams is not that of the league.
        ([of(day=date(2033, 12, 30))], "no game of ATL, BKN, BOS.* since 203.*, and more than 30 days without any"),
    ],
)
def test_results_that_no_league_has_are_refused(
    bundle: Path, tmp_path: Path, wrong: list[GameResult], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        refresh_ratings(bundle, wrong, tmp_path / "out", date(2033, 12, 31))
    assert not (tmp_path / "out").exists()
