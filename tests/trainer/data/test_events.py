"""The events that a fetch and an import keep beside the plays."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.support.fakes.stats_service import StatsStandIn, season_of_games
from tests.support.harness.fetch import fetch_from
from tests.trainer.harness import run

from dejavu_feed.errors import DataError
from dejavu_feed.event_table import read_events
from dejavu_feed.events import Event, EventKind, complete_events
from dejavu_feed.nba.event_rows import live_event, v2_event
from dejavu_feed.pattern import REGULATION_MINUTES, Score, slots
from dejavu_feed.score_changes import score_changes
from dejavu_feed.teams import team_code
from dejavu_trainer.data.plays import read_plays

GAMES = season_of_games(3)


def timelines(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    games: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for row in rows:
        games[row["game_id"]].append((row["elapsed_s"], row["home_score"], row["away_score"]))
    return {game: slots(scores, REGULATION_MINUTES) for game, scores in games.items()}


def test_a_fetch_keeps_every_play_and_the_patterns_are_those_of_the_scores(tmp_path: Path) -> None:
    with StatsStandIn(GAMES) as service:
        fetch_from(service, tmp_path)
        requested = len(service.plays_asked())
        (tmp_path / "events_2025.parquet").unlink()
        fetch_from(service, tmp_path)  # from the cache
        assert len(service.plays_asked()) == requested
    events = read_events(tmp_path / "events_2025.parquet").to_pylist()
    assert timelines(events) == timelines(read_plays(tmp_path / "plays_2025.parquet").to_pylist())
    shots = [event for event in events if event["kind"] == "shot" and event["game_id"] == GAMES[0].game_id]
    assert sum(bool(shot["made"]) for shot in shots) == len(GAMES[0].scores) - 1
    assert {shot["team"] for shot in shots} == {GAMES[0].home, GAMES[0].away}
    for before, event in pairwise(events):
        if event["kind"] == "shot" and before["kind"] == "rebound":
            assert before["possession"] == before["team"]


def test_a_file_that_is_not_one_of_events_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events_2025.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"events_2025\.parquet: can't be read as events"):
        read_events(tmp_path / "events_2025.parquet")


HOOPR = [
    ("1:30", "Jump Shot", "LeBron James misses 26-foot three point jumper", 13, False, 0, 0),
    ("1:28", "Defensive Rebound", "", 7, False, 0, 0),
    ("1:20", "Driving Layup Shot", "Nikola Jokic makes 2-foot driving layup", 7, True, 2, 0),
    ("1:20", "Shooting Foul", "", 13, False, 2, 0),
    ("1:20", "Free Throw - 1 of 1", "Nikola Jokic makes free throw 1 of 1", 7, True, 3, 0),
    ("1:00", "Free Throw - Technical", "LeBron James makes technical free throw", 13, True, 3, 1),
    ("1:00", "Bad Pass\nTurnover", "", 13, False, 3, 1),
]


def test_an_import_of_hoopr_keeps_events_without_players(tmp_path: Path) -> None:
    columns = ("clock_display_value", "type_text", "text", "team_id", "scoring_play", "home_score", "away_score")
    common = {
        "game_id": 401584689, "game_date": "2023-10-24", "season_type": 2, "home_team_abbrev": "DEN",
        "away_team_abbrev": "LAL", "home_team_id": 7, "away_team_id": 13,
    }  # fmt: skip
    rows = [common | {"period_number": 1} | dict(zip(columns, values, strict=True)) for values in HOOPR]
    scored = [(2, "5:00", 3, 3), (3, "5:00", 5, 3), (4, "1:00", 7, 3)]
    names = ("period_number", "clock_display_value", "home_score", "away_score")
    rows += [common | dict(zip(names, values, strict=True)) for values in scored]
    (tmp_path / "pbp.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    assert run("import", tmp_path / "pbp.json", "--from", "hoopr", "--season", 2024, "--out", out) == 0
    events = read_events(out / "events_2024.parquet").to_pylist()[: len(HOOPR)]
    keys = ("kind", "team", "points", "made", "shot_value", "distance_ft", "possession", "player")
    assert [tuple(event[key] for key in keys) for event in events] == [
        ("shot", "LAL", 0, False, 3, 26.0, "LAL", None),
        ("rebound", "DEN", 0, None, None, None, "DEN", None),
        ("shot", "DEN", 2, True, 2, 2.0, "LAL", None),
        ("foul", "LAL", 0, None, None, None, "DEN", None),
        ("free_throw", "DEN", 1, True, None, None, "LAL", None),
        ("free_throw", "LAL", 1, True, None, None, "LAL", None),
        ("turnover", "LAL", 0, None, None, None, "DEN", None),
    ]


@pytest.mark.real_data
def test_a_real_game_of_nba_api_keeps_its_events(tmp_path: Path, data_dir: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("GAME_ID,GAME_DATE,MATCHUP,WL,PTS\n0022400001,2024-11-12,ATL @ BOS,W,117\n")
    path = data_dir / "feed" / "playbyplayv3_0022400001.json"
    assert run("import", path, "--from", "nba_api", "--season", 2025, "--out", tmp_path, "--games", log) == 0
    events = read_events(tmp_path / "events_2025.parquet").to_pylist()
    assert len(events) == 475
    assert timelines(events) == timelines(read_plays(tmp_path / "plays_2025.parquet").to_pylist())
    assert sum(event["points"] for event in events) == 117 + 116
    assert sum(event["kind"] == "steal" for event in events) == 23
    made = [event for event in events if event["kind"] == "shot" and event["made"]]
    assert {event["shot_value"] for event in made} == {2, 3}


def rows_of(path: Path, season: int) -> Iterator[tuple[str, Event, tuple[int, int] | None]]:
    """Yield the game, the event and the score of each row of a real season's events, in either format."""
    live = season > 2020
    for number, row in enumerate(pq.read_table(path).to_pylist()):
        period, elapsed = row["period"], round(float(row["elapsed_s"]), 2)
        if live:
            fields = {"actionType": row["action"], "subType": row["detail"], "shotResult": row["result"]}
            event = live_event(fields, period, elapsed, number)
        else:
            fields = {"EVENTMSGTYPE": row["event_type"], "EVENTMSGACTIONTYPE": row["event_action"]}
            fields["PLAYER1_ID"] = row["player1"]
            event = v2_event(fields, period, elapsed, number)
        score = None if row["home_score"] is None else (row["home_score"], row["away_score"])
        team = team_code(row["team"]) if row["team"] else event.team  # codes of Basketball-Reference, too
        if event.kind is EventKind.JUMP_BALL:
            team = ""  # the table has the first jumper's, not the winner's
        yield row["game_id"], event._replace(team=team), score


CHECKED_MINUTES = (6, 12, 18, 24, 36, 42)


@pytest.mark.real_data
@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("season", range(2014, 2025))
def test_leads_of_real_events_are_those_of_the_score_changes(season: int, data_dir: Path) -> None:
    true = timelines(read_plays(data_dir / "seasons" / f"plays_{season}.parquet").to_pylist())
    games: dict[str, list[tuple[Event, tuple[int, int] | None]]] = defaultdict(list)
    name = f"{'live' if season > 2020 else 'v2'}_{season}.parquet"
    for game, event, score in rows_of(data_dir / "events" / name, season):
        games[game].append((event, score))
    compared = different = attacks = wrong = 0
    for game, rows in games.items():
        scores = score_changes((None, Score(event.elapsed, *score)) for event, score in rows if score is not None)
        events = complete_events(rows, scores, sorted({event.team for event, _ in rows if event.team}))
        found = slots([(event.elapsed, event.home, event.away) for event in events], REGULATION_MINUTES)
        compared += len(CHECKED_MINUTES)
        different += sum(found[minute - 1] != true[game][minute - 1] for minute in CHECKED_MINUTES)
        for before, event in pairwise(events):
            if event.kind in (EventKind.SHOT, EventKind.TURNOVER) and event.team and before.possession:
                attacks += 1
                wrong += before.possession != event.team
    assert different <= 0.001 * compared
    assert wrong <= 0.015 * attacks
