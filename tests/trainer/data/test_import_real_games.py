"""Real files of nba_api and of the live feed become seasons."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from tests.support.harness.checked_plays import labels, timeline

from dejavu_feed.nba.stats_payloads import read_game_log, read_score_timeline
from dejavu_feed.teams import TEAMS
from dejavu_trainer.data.game_list import read_game_list
from dejavu_trainer.data.import_source import read_source
from dejavu_trainer.data.source_rows import Source


def _log(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["GAME_ID,GAME_DATE,MATCHUP", *rows]) + "\n")
    return path


@pytest.mark.real_data
def test_a_real_game_of_nba_api_has_the_timeline_of_a_fetch(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "feed" / "playbyplayv3_0022400001.json"
    log = _log(tmp_path, "0022400001,2024-11-12,ATL @ BOS")
    checked = read_source([path], Source.NBA_API, 2025, read_game_list(log))
    assert labels(checked) == {("0022400001", "RS", "BOS", "ATL", date(2024, 11, 12))}
    headers = ["GAME_ID", "GAME_DATE", "TEAM_ID", "MATCHUP", "WL", "PTS"]
    points = timeline(checked)[-1][1:]
    teams = zip(("BOS", "ATL"), ("BOS vs. ATL", "ATL @ BOS"), ("L", "W"), points, strict=True)
    listing = [["0022400001", "2024-11-12", TEAMS[code].number, text, won, pts] for code, text, won, pts in teams]
    payload = {"resultSets": [{"name": "LeagueGameLog", "headers": headers, "rowSet": listing}]}
    [game] = read_game_log(payload)
    fetched = read_score_timeline(json.loads(path.read_text()), game)
    assert timeline(checked) == [tuple(score) for score in fetched.scores]


@pytest.mark.real_data
def test_a_real_game_of_the_live_feed_is_read_with_its_teams_from_the_list(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "feed" / "playbyplay_0022000001.json"
    log = _log(tmp_path, "0022000001,2020-12-22,GSW @ BKN")
    checked = read_source([path], Source.NBA_API, 2021, read_game_list(log))
    scores = timeline(checked)
    assert scores[-1][1:] == (125, 99)
    assert [home - away for elapsed, home, away in scores if elapsed <= 1080][-1] == 20
    assert [home - away for elapsed, home, away in scores if elapsed <= 1440][-1] == 18


@pytest.mark.real_data
def test_a_real_list_of_games_is_read(data_dir: Path) -> None:
    games = read_game_list(data_dir / "feed" / "leaguegamelog_2025-26.json")
    first = games.by_id["0022500002"]
    assert (first.day, first.home, first.away) == (date(2025, 10, 21), "LAL", "GSW")
    assert games.by_teams[first.day, "LAL", "GSW"] == "0022500002"
