"""`dejavu-trainer refresh` end to end, from a fake NBA statistics service; files and ledgers: ../test_refresh.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.fakes.stats_service import Asked, StatsStandIn, season_of_games
from tests.support.harness.documents import ROOT
from tests.trainer.harness import run

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_store.registry import default_bundle, refreshed_bundle, served_bundle
from dejavu_trainer.refresh import refresh_ratings

SHIPPED = read_manifest(default_bundle())
GAMES = season_of_games(season=SHIPPED.ratings.season)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.nightly
def test_killed_and_run_again_it_leaves_the_shipped_bundle_with_the_finals_since_where_servers_find_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StatsStandIn(list(GAMES)) as service:
        command = (sys.executable, "-m", "dejavu_trainer", "refresh", "--url", service.url)
        killed = subprocess.Popen(command, env={**os.environ}, stderr=subprocess.DEVNULL)

        def kill(_: Asked) -> None:
            if len(service.asked) == 3:
                killed.send_signal(signal.SIGKILL)

        service.on_request = kill
        assert killed.wait(60) == -signal.SIGKILL
        assert served_bundle() == default_bundle()
        received = [each.what for each in service.asked[:-1]]
        service.on_request = lambda _: None
        service.asked.clear()
        assert run("refresh", "--url", service.url) == 0
        assert received == ["Regular Season", GAMES[1].game_id], "the second game is on neutral ground"
        assert not set(received) & {each.what for each in service.asked[:2]}
    told = capsys.readouterr()
    assert f"{SHIPPED.ratings.season - 1}-{SHIPPED.ratings.season % 100:02d}: {len(GAMES)} finals\n" in told.err
    assert "ratings date " in told.out
    assert "dejavu-server serves it from its next start, or from a SIGHUP on." in told.out
    assert served_bundle() == refreshed_bundle()
    refreshed = load_bundle(served_bundle())
    assert refreshed.manifest.refresh is not None
    assert refreshed.manifest.refresh.games == len(GAMES)
    assert refreshed.manifest.ratings.date == max(game.day for game in GAMES)
    results = [game.result for game in sorted(GAMES, key=lambda game: (game.day, game.game_id))]
    from_results = refresh_ratings(default_bundle(), results, tmp_path / "same", GAMES[-1].day)
    assert load_bundle(tmp_path / "same").version == from_results.forecaster.version


def test_it_asks_as_often_as_its_help_says_and_programs_get_one_document_whose_keys_are_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with StatsStandIn(list(GAMES)) as service:
        assert run("refresh", "--url", service.url, "--out", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bundle"], document["games"]) == (str(tmp_path / "out"), len(GAMES))
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in document if f"`{key}`" not in explained]
    lists = [each.what for each in service.asked if not each.what.isdigit()]
    assert lists == ["Regular Season", "IST", "PlayIn", "Playoffs"] * (len(lists) // 4)
    assert [each.what for each in service.asked if each.what.isdigit()] == [GAMES[1].game_id]  # on neutral ground
    assert run("refresh", "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "four for each season since the ratings end, and one for each game on neutral ground" in told


def test_off_line_it_says_so_and_nothing_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("refresh", "--url", "http://127.0.0.1:9") == 1
    *retries, error = capsys.readouterr().err.splitlines()
    assert len(retries) == 2
    assert "Regular Season, could not be fetched: no connection to 127.0.0.1:9, after 3 attempts; " in error
    assert error.endswith("the bundle is as it was; run the same command again, or give games with --from")
    assert served_bundle() == default_bundle()
