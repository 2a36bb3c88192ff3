"""Refreshed ratings: as a server would have updated them, in a bundle that is otherwise the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import simulated_games, simulated_seasons, small_bundle
from tests.support.builders.calibrations import steady_totals
from tests.trainer.harness import ledger_of, run

from dejavu_feed.errors import DataError
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.manifest import TOTALS, version_of
from dejavu_models.team_filter import FIRST_TERM
from dejavu_models.totals.totals import Totals
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle, publish, read_manifest
from dejavu_store.registry import default_bundle
from dejavu_trainer.cli import refresh as refresh_command
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.refresh import refresh_ratings, results_of
from dejavu_trainer.training.totals import carry_totals

PATTERN = ScorePattern(tuple(float(minute % 5) for minute in range(20)))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose ratings end with the season 2033."""
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def expected_margin(model: Forecaster, home: str = "BOS", away: str = "LAL") -> float | None:
    return model.forecast(ForecastQuery(PATTERN, Horizon.FINAL, 0.2, home, away)).expected_margin


@pytest.fixture
def _in_2037(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command run after the simulated games of 2037."""
    monkeypatch.setattr(refresh_command, "game_day", lambda _: date(2037, 6, 30))


def test_it_learns_what_a_server_would_have_and_changes_nothing_else(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "refreshed"
    assert run("refresh", bundle, "--from", simulated_seasons(), "--out", out, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    old, new = load_bundle(bundle), load_bundle(out)
    games = simulated_games().of_seasons([2034])
    live = RatedSchedule(LiveRatings.start(old.rating_filter))
    for index in range(len(games)):
        day = games.date[index].item()
        final = int(games.final[index])
        is_playoffs = str(games.phase[index]) != "RS"
        live = live.after(GameResult(str(games.home[index]), str(games.away[index]), 2034, day, final, is_playoffs))
    refreshed = live.ratings.filter
    assert np.array_equal(new.rating_filter.mean, refreshed.mean)
    assert not np.array_equal(new.rating_filter.mean[FIRST_TERM:], old.rating_filter.mean[FIRST_TERM:])
    assert (old.rating_filter.season, old.rating_filter.awaits_season) == (2033, False)
    assert (new.rating_filter.season, new.rating_filter.awaits_season) == (2034, False)
    assert expected_margin(new) == refreshed.expected_margin_terms("BOS", "LAL").margin != expected_margin(old)
    assert new.manifest.refresh is not None
    assert (new.manifest.refresh.games, new.manifest.refresh.of_version) == (len(games), old.version)
    assert document["ratings_date"] == new.manifest.ratings.date.isoformat() == str(games.date[-1])
    assert (document["model_version"], document["games"]) == (new.version, len(games))
    assert new.version != old.version
    for name in ("train", "calibrate", "data_fingerprint", "verdict", "metrics", "seed"):
        assert getattr(new.manifest, name) == getattr(old.manifest, name)
    changed = {name for name, hash_ in new.manifest.files.items() if old.manifest.files[name] != hash_}
    assert changed == {"ratings.npz"}
    query = ForecastQuery(PATTERN, Horizon.FINAL, 0.2)
    assert new.forecast(query).interval == old.forecast(query).interval
    assert run("refresh", bundle, "--from", simulated_seasons(), "--out", tmp_path / "again") == 0
    assert read_manifest(tmp_path / "again").version == new.version


def test_by_default_the_bundle_is_replaced_and_then_there_is_nothing_newer(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = read_manifest(bundle).version
    file = simulated_seasons() / "plays_2034.parquet"
    assert run("refresh", bundle, "--from", file) == 0
    assert f"with the models of {version}" in capsys.readouterr().out
    refreshed = read_manifest(bundle)
    assert refreshed.version != version
    assert run("refresh", bundle, "--from", file, "--json") == 0
    told = capsys.readouterr()
    assert f"no game after {refreshed.ratings.date}, the newest final that its ratings know; nothing was" in told.err
    assert json.loads(told.out)["games"] == 0
    assert read_manifest(bundle) == refreshed


def test_once_a_season_is_over_the_ratings_are_for_the_next_one_and_nearer_to_each_other(
    bundle: Path, tmp_path: Path
) -> None:
    results = results_of(simulated_games().of_seasons([2034]))
    spreads = []
    for today in (date(2034, 6, 30), date(2034, 9, 1)):
        refresh_ratings(bundle, results, tmp_path / "out", today)
        strengths = load_bundle(tmp_path / "out").rating_filter.strengths.values()
        spreads.append((read_manifest(tmp_path / "out").ratings.season, max(strengths) - min(strengths)))
        assert load_bundle(tmp_path / "out").rating_filter.awaits_season is (today.month == 9)
    (season, spread), (next_season, regressed) = spreads
    assert (season, next_season) == (2034, 2035)
    assert regressed < spread


@pytest.mark.nightly
async def test_a_ledger_is_a_source_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = shutil.copytree(default_bundle(), tmp_path / "bundle")
    path = tmp_path / "ledger.sqlite3"
    await ledger_of(path, 3)
    before = expected_margin(load_bundle(shipped), "BKN", "GSW")
    out = tmp_path / "refreshed"
    assert run("refresh", shipped, "--from", path, "--out", out) == 0
    assert "3, 2024-11-01 to 2024-11-03" in capsys.readouterr().out
    new = load_bundle(out)
    assert new.rating_filter.newest == date(2024, 11, 3)
    margin = expected_margin(new, "BKN", "GSW")
    assert before is not None
    assert margin is not None
    assert margin > before + 1


def test_seasons_without_games_are_found(bundle: Path, tmp_path: Path) -> None:
    results = results_of(simulated_games().of_seasons([2034]))
    later = [
        each._replace(season=2037, day=each.day.replace(year=each.day.year + 3))
        for each in results
        if each.day.month != 2  # or it may be a 29th
    ]
    refresh = refresh_ratings(bundle, [*results, *later], tmp_path / "out", date(2037, 6, 30))
    assert refresh.missing_seasons == (2035, 2036)


@pytest.mark.usefixtures("_in_2037")
@pytest.mark.nightly
def test_a_season_without_games_is_told(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plays(tmp_path, 2037, simulate_season(2037, games=100))
    (tmp_path / "plays_2034.parquet").write_bytes((simulated_seasons() / "plays_2034.parquet").read_bytes())
    arguments = ("refresh", bundle, "--from", tmp_path, "--out")
    assert run(*arguments, tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["missing_seasons"] == [2035, 2036]
    assert run(*arguments, tmp_path / "out") == 0
    assert "no games of 2034–35, 2035–36: the ratings do not include them" in " ".join(capsys.readouterr().out.split())
    assert run("refresh", bundle, "--from", tmp_path / "plays_2034.parquet", "--out", tmp_path / "out") == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.nightly
async def test_a_ledger_of_replays_is_refused_without_an_option_that_is_not_there(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.sqlite3"
    await ledger_of(path, 0)
    assert run("refresh", bundle, "--from", path) == 1
    error = capsys.readouterr().err
    assert "the ledger has no game to export; games of replays do not count" in error
    assert "--include-replays" not in error


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("games.parquet", "games.parquet: is not plays_SEASON.parquet"),
        pytest.param("sqlite:///nowhere.sqlite3", "cannot be exported", marks=pytest.mark.nightly),
    ],
)
def test_an_unusable_source_is_named_and_the_bundle_stays(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    source: str, reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "games.parquet").write_bytes(b"PAR1")
    before = read_manifest(bundle)
    assert run("refresh", bundle, "--from", source) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error
    assert read_manifest(bundle) == before


@pytest.mark.nightly
async def test_an_evening_after_years_without_games_is_refused_naming_the_teams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle knows all teams up to one date: that of two teams is not that of the league."""
    shipped = shutil.copytree(default_bundle(), tmp_path / "bundle")
    path = tmp_path / "ledger.sqlite3"
    await ledger_of(path, 1, first="0022500001", evening=datetime(2025, 11, 2, 3, 30, tzinfo=UTC))
    before = read_manifest(shipped)
    assert run("refresh", shipped, "--from", path) == 1
    error = capsys.readouterr().err
    assert "no game of ATL, BOS, CHA" in error
    assert "since 2024-06-17" in error
    assert not {"BKN", "GSW"} & set(error.split("since")[0].replace(",", "").split())
    assert read_manifest(shipped) == before


def test_a_refresh_carries_the_ratings_of_totals_and_keeps_their_tables(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    base = load_bundle(tmp_path / "bundle", allow_unfit=True)
    games = simulated_games()
    newest = games.of_seasons([2034])
    _, before = carry_totals(steady_totals().ratings.predict(2033), games.of_seasons([2033]))
    totals = Totals(steady_totals().models, before)
    contents = {name: (tmp_path / "bundle" / name).read_bytes() for name in base.manifest.files}
    contents[TOTALS] = totals.to_bytes()
    hashes = {name: hashlib.sha256(contents[name]).hexdigest() for name in (*base.manifest.files, TOTALS)}
    version = version_of(base.manifest.ratings, hashes)
    publish(tmp_path / "bundle", base.manifest.model_copy(update={"files": hashes, "version": version}), contents)
    new = refresh_ratings(tmp_path / "bundle", results_of(newest), tmp_path / "refreshed", date(2034, 6, 30)).forecaster
    assert new.totals is not None
    _, after = carry_totals(totals.ratings, newest)
    assert new.totals.ratings.date == newest.date[-1]
    # A day's games are updated one after the other in both, and each day once.
    assert new.totals.ratings.mean == pytest.approx(after.mean, abs=1e-9)
    for source, model in totals.models.items():
        assert np.array_equal(new.totals.models[source].point, model.point)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (
            [GameResult("DET", "NYK", 2034, date(2033, 11, 1), 400, False)],
            "NYK @ DET of 2033-11-01 with a final differential of 400",
        ),
        ([GameResult("DET", "NYK", 2034, date(2033, 11, 1), 0, False)], "differential of 0; expected 1 to 80 points"),
        ([GameResult("DET", "XXX", 2034, date(2033, 11, 1), 6, False)], "XXX is no NBA code"),
        ([GameResult("DET", "DET", 2034, date(2033, 11, 1), 6, False)], "expected two teams"),
        ([GameResult("DET", "NYK", 2034, date(2033, 11, 1), 6, False, 10**6)], "1000000 total points; expected 6"),
        ([GameResult("DET", "NYK", 2034, date(2033, 11, 1), 6, False, 4)], "4 total points; expected 6"),
        ([GameResult("DET", "NYK", 2034, date(2033, 11, 1), 6, False, 201)], "201 total points; expected an even"),
        ([GameResult("DET", "NYK", 2034, date(2033, 11, 3), 6, False)], "expected games until today, 2033-11-02"),
        ([GameResult("DET", "NYK", 2099, date(2033, 11, 1), 6, False)], "season 2099; expected 2034"),
        (
            [GameResult("DET", team, 2034, date(2033, 11, 1), 60, False) for team in ("NYK", "BOS")],
            "the results have DET in 2 games on 2033-11-01",
        ),
    ],
)
def test_results_that_no_game_has_are_refused(
    bundle: Path, tmp_path: Path, wrong: list[GameResult], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        refresh_ratings(bundle, wrong, tmp_path / "out", date(2033, 11, 2))
    assert not (tmp_path / "out").exists()
