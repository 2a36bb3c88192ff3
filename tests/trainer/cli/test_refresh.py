"""`dejavu-trainer refresh` end to end, from a fake NBA statistics service; files and ledgers: ../test_refresh.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.fakes.stats_service import StatsStandIn, season_of_games
from tests.support.harness.documents import ROOT
from tests.trainer.harness import told

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle

SHIPPED = read_manifest(default_bundle())
GAMES = season_of_games(season=SHIPPED.ratings.season)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_the_shipped_bundle_with_the_finals_since_is_left_where_servers_find_it_and_its_document_is_explained() -> None:
    """It asks as often as its help says."""
    with StatsStandIn(list(GAMES)) as service:
        done = told("refresh", "--url", service.url, "--json")
    document = done.document
    assert f"{SHIPPED.ratings.season - 1}-{SHIPPED.ratings.season % 100:02d}: {len(GAMES)} finals\n" in done.err
    assert served_bundle() == refreshed_bundle()
    assert (document["bundle"], document["games"]) == (str(refreshed_bundle()), len(GAMES))
    assert load_bundle(served_bundle()).manifest.ratings.date == max(game.day for game in GAMES)
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in document if f"`{key}`" not in explained]
    lists = [each.what for each in service.asked if not each.what.isdigit()]
    assert lists == ["Regular Season", "IST", "PlayIn", "Playoffs"] * (len(lists) // 4)
    assert [each.what for each in service.asked if each.what.isdigit()] == [GAMES[1].game_id]  # on neutral ground
    help_text = " ".join(told("refresh", "--help").out.split())
    assert "four for each season since the ratings end, and one for each game on neutral ground" in help_text


def test_off_line_it_says_so_and_nothing_is_changed() -> None:
    done = told("refresh", "--url", "http://127.0.0.1:9")
    *retries, error = done.err.splitlines()
    assert (done.code, len(retries)) == (1, 2)
    assert "Regular Season, could not be fetched: no connection to 127.0.0.1:9, after 3 attempts; " in error
    assert error.endswith("the bundle is as it was; run the same command again, or give games with --from")
    assert served_bundle() == default_bundle()
