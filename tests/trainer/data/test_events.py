"""Events that a fetch and an import keep beside the plays, and box scores that an import derives from them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.builders.box_scores import made_box_score
from tests.support.builders.plays_files import written
from tests.support.fakes.stats_service import StatsStandIn, fetch_from, season_of_games
from tests.support.harness.real_games import events_of
from tests.trainer.harness import Told, run, told

from dejavu_feed.errors import DataError
from dejavu_feed.event_table import read_events
from dejavu_feed.nba.live_payloads import read_box_score
from dejavu_feed.pattern import REGULATION_MINUTES, slots
from dejavu_trainer.data.events import SCHEMA, read_box_scores
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import read_plays, write_plays
from dejavu_trainer.data.simulate import simulate_season

Rows = list[dict[str, object]]


FIRST, SECOND = "202310250DEN", "202310260DEN"


DEN, LAL = range(11, 16), range(21, 26)


ENTERS = 16
"""A player of DEN who plays the end of the second quarter in place of player 11."""


SCORES = [(0, 0, 0), (300, 2, 0), (1000, 4, 0), (1500, 4, 3), (2800, 5, 3)]
"""Game seconds, points of DEN and of LAL."""


BEGINNERS = [
    (720 * period + 10 + number, "2pt", player) for period in range(4) for number, player in enumerate((*DEN, *LAL))
]


LATER = [(300, "2pt", 12), (900, "substitution", 11), (900, "substitution", ENTERS), (1000, "2pt", ENTERS)]


LAST = [(1500, "3pt", 21), (2790, "foul", 21), (2800, "freethrow", 12)]


COURSE = sorted(BEGINNERS + LATER + LAST, key=itemgetter(0))
"""Game seconds, action and player of each event: who begins a quarter misses a shot in it."""


def plays(game: str) -> Rows:
    common = {"game_id": game, "type": "RS", "home": "DEN", "away": "LAL"}
    return [common | {"elapsed_s": at, "home_score": home, "away_score": away} for at, home, away in SCORES]


def live(game: str) -> Rows:
    """Return the events of a game in the columns of the live feed."""
    rows: Rows = []
    for elapsed, action, player in COURSE:
        _, home, away = max(score for score in SCORES if score[0] <= elapsed)
        foul, on_court = action == "foul", {*DEN, *LAL, ENTERS} - {11 if 900 <= elapsed < 1440 else ENTERS}
        rows.append(
            {
                "game_id": game, "period": int(elapsed // 720) + 1, "elapsed_s": elapsed, "distance_ft": 12,
                "team": "LAL" if player in LAL else "DEN", "home_score": home, "away_score": away, "action": action,
                "detail": {"foul": "shooting", "freethrow": "1 of 1"}.get(action, ""), "person": player,
                "result": "Made" if any(elapsed == each[0] for each in SCORES) else "Missed",
                "qualifier": "['1freethrow']" if foul else "[]", "foul_drawn": 12 if foul else "",
                "players_on": "|".join(map(str, sorted(on_court))),
            }
        )  # fmt: skip
    return rows


def v2(game: str) -> Rows:
    """Return the same events in the columns of PlayByPlayV2, with scores on the rows that score only."""
    kinds = {"freethrow": (3, 10, 0), "foul": (6, 2, 12), "substitution": (8, 0, ENTERS)}  # type, action, other player
    names = ("game_id", "period", "elapsed_s", "distance_ft", "team")
    rows: Rows = []
    for each in live(game):
        kind, action, other = kinds.get(str(each["action"]), (1 if each["result"] == "Made" else 2, 0, 0))
        told = each if each["result"] == "Made" else {"home_score": "", "away_score": ""}
        score = {name: told[name] for name in ("home_score", "away_score")}
        players = {"player1": each["person"], "player2": other, "player3": 0}
        if each["person"] != other:  # one row names who leaves and who enters
            rows.append(
                {name: each[name] for name in names} | score | players | {"event_type": kind, "event_action": action}
            )
    return rows


SOURCES = {"live": live, "v2": v2}


def imported(folder: Path, events: Rows, *more: object) -> Told:
    files = written(folder / "plays.csv", plays(FIRST) + plays(SECOND)), written(folder / "events.csv", events)
    return told("import", files[0], "--events", files[1], "--season", 2024, "--out", folder / "out", *more)


@pytest.mark.parametrize("source", SOURCES)
def test_a_table_of_events_gives_events_and_box_scores(source: str, tmp_path: Path) -> None:
    assert imported(tmp_path, SOURCES[source](FIRST) + SOURCES[source](SECOND)).code == 0
    events = [
        row for row in read_events(tmp_path / "out" / "events_2024.parquet").to_pylist() if row["game_id"] == FIRST
    ]
    keys = ("elapsed_s", "kind", "team", "points", "distance_ft", "player", "possession")
    assert [tuple(event[key] for key in keys) for event in events if event["points"]] == [
        (300.0, "shot", "DEN", 2, 12.0, 12, "LAL"),
        (1000.0, "shot", "DEN", 2, 12.0, ENTERS, "LAL"),
        (1500.0, "shot", "LAL", 3, 12.0, 21, "DEN"),
        (2800.0, "free_throw", "DEN", 1, None, 12, "LAL"),
    ]
    assert (events[-2]["detail"], events[-2]["other_player"]) == ("shooting", 12)
    first, _ = load_games(tmp_path / "out", [2024]).box_scores
    assert [(*each.line, each.first) for each in first] == [
        (11, True, 180 + 2160, 0, True, 0.0),
        *((player, True, 2880, 2, True, 0.0) for player in DEN if player > 11),
        (ENTERS, True, 540, 2, False, 900.0),
        *((player, False, 2880, -2, True, 0.0) for player in LAL),
    ]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"period": 15}, "line 2: period is '15', expected 1 to 14"),
        ({"elapsed_s": 721}, "line 2: elapsed_s is '721', expected 0 to 720"),
        ({"elapsed_s": "soon"}, "line 2: elapsed_s is 'soon'"),
        ({"home_score": 401, "away_score": 0}, "line 2: home_score is '401', expected 0 to 400"),
        ({"home_score": 1, "away_score": ""}, "line 2: away_score is missing"),
        ({"distance_ft": "far"}, "line 2: distance_ft is 'far', expected 0 to 94"),
        ({"team": "XYZ"}, "line 2: team is 'XYZ', expected a team of the NBA"),
        ({"team": "BOS"}, "they name BOS, which does not play"),
        ({"home_score": 30, "away_score": 0}, "the score goes from 0–0 to 30–0 at 11:50 of Q1, which no shot explains"),
        ({"game_id": SECOND[:-3] + "LAL"}, "the plays lack it"),
    ],
)
def test_a_bad_game_of_a_table_of_events_does_not_lose_the_others(
    source: str, changed: dict[str, object], reason: str, tmp_path: Path
) -> None:
    first, *rest = SOURCES[source](FIRST)
    done = imported(tmp_path, [first | changed, *rest, *SOURCES[source](SECOND)], "--json")
    document = done.document
    assert f"no events of 1 game ({document['without_events'][0]['game_id']}): " in done.err
    assert reason in done.err
    events = read_events(tmp_path / "out" / "events_2024.parquet")
    assert (document["games"], document["events"]) == (2, len(set(events["game_id"].to_pylist())))
    assert SECOND in events["game_id"].to_pylist()


def test_a_game_whose_line_ups_are_not_found_has_events_and_no_box_score(tmp_path: Path) -> None:
    silent = [row for row in live(FIRST) if (row["period"], row["person"]) != (3, 15)]
    message = f"no players of 1 game ({FIRST}): 4 players of the home team begin period 3; expected 5"
    assert message in imported(tmp_path, silent + live(SECOND)).err
    assert pq.read_table(tmp_path / "out" / "players_2024.parquet")["game_id"].unique().to_pylist() == [SECOND]
    assert len(set(read_events(tmp_path / "out" / "events_2024.parquet")["game_id"].to_pylist())) == 2


def timelines(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    games: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for row in rows:
        games[row["game_id"]].append((row["elapsed_s"], row["home_score"], row["away_score"]))
    return {game: slots(scores, REGULATION_MINUTES) for game, scores in games.items()}


GAMES = season_of_games(3)


def test_a_fetch_keeps_every_play_and_the_patterns_are_those_of_the_scores(tmp_path: Path) -> None:
    with StatsStandIn(GAMES) as service:
        fetch_from(service, tmp_path)
        requested = len(service.plays_asked())
        (tmp_path / "events_2025.parquet").unlink()
        fetch_from(service, tmp_path)  # from the cache
        assert len(service.plays_asked()) == requested
    events = read_events(tmp_path / "events_2025.parquet").to_pylist()
    assert timelines(events) == timelines(read_plays(tmp_path / "plays_2025.parquet").to_pylist())


@pytest.mark.real_data
def test_a_real_game_of_the_live_feed_has_the_box_score_of_the_nba(tmp_path: Path, data_dir: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("GAME_ID,GAME_DATE,MATCHUP\n0022000001,2020-12-22,GSW @ BKN\n")
    path = data_dir / "feed" / "playbyplay_0022000001.json"
    assert run("import", path, "--from", "nba_api", "--season", 2021, "--out", tmp_path, "--games", log) == 0
    true = read_box_score(json.loads((data_dir / "feed" / "boxscore_0022000001.json").read_bytes()), "0022000001")
    (found,) = read_box_scores(tmp_path / "players_2021.parquet").values()
    assert [each.line for each in found] == list(true.lines)
    assert {each.line.player for each in found if each.first == 0} == {
        each.player for each in true.lines if each.started
    }


CHECKED_MINUTES = (6, 12, 18, 24, 36, 42)


@pytest.mark.real_data
@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("season", range(2014, 2025))
def test_real_events_lead_to_the_real_scores_and_nearly_all_box_scores(
    season: int, data_dir: Path, tmp_path: Path
) -> None:
    file = data_dir / "seasons" / f"plays_{season}.parquet"
    document = told(
        "import", file, "--events", events_of(data_dir, season), "--season", season, "--out", tmp_path, "--json"
    ).document
    assert document["left_out"] == {2015: 1, 2018: 2}.get(season, 0)
    assert document["events"] >= 0.97 * document["games"]
    assert document["players"] >= 0.97 * document["events"]
    true = timelines(read_plays(tmp_path / f"plays_{season}.parquet").to_pylist())
    rows = read_events(tmp_path / f"events_{season}.parquet").to_pylist()
    found = timelines(rows)
    different = sum(game[m - 1] != true[name][m - 1] for name, game in found.items() for m in CHECKED_MINUTES)
    assert different <= 0.001 * len(CHECKED_MINUTES) * len(found)
    attacks = [
        before["possession"] == event["team"]
        for before, event in pairwise(rows)
        if before["game_id"] == event["game_id"] and event["kind"] in ("shot", "turnover")
        if event["team"] and before["possession"]
    ]
    assert sum(attacks) >= 0.985 * len(attacks)


Columns = dict[str, list[Any]]


def columns(game_id: str = "203303060LAL") -> Columns:
    """Return the columns of a file with one game."""
    rows = [(game_id, *each.line, each.first) for each in made_box_score("LAL", "BOS", 5, 0)]
    return dict(zip(SCHEMA.names, map(list, zip(*rows, strict=True)), strict=True))


def write(folder: Path, of: Columns) -> Path:
    path = folder / "players_2033.parquet"
    ids = pa.array(of["player"], pa.uint64() if max(of["player"]) >= 2**63 else pa.int64())
    pq.write_table(pa.table({**of, "player": ids}), path)
    return path


def test_games_get_the_box_scores_of_the_file_beside_their_plays(tmp_path: Path) -> None:
    write_plays(tmp_path, 2033, simulate_season(2033, games=30))
    without = load_games(tmp_path, [2033])
    first = str(without.game_id[0])
    box_score = made_box_score("LAL", "BOS", 5, 0)
    rows = zip(*((first, *each.line, each.first) for each in box_score), strict=True)
    pq.write_table(pa.table(dict(zip(SCHEMA.names, map(list, rows), strict=True))), tmp_path / "players_2033.parquet")
    games = load_games(tmp_path, [2033])
    assert games.box_scores[0] == box_score
    assert not any(games.box_scores[1:])
    assert games.fingerprint != without.fingerprint
    assert load_games(tmp_path, [2033]).fingerprint == games.fingerprint


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("seconds", lambda old: [each + 0.5 for each in old], r"seconds is \d+\.5; expected a whole number"),
        ("seconds", lambda old: [*old[:2], -1, *old[3:]], r"players\[2\].seconds is -1; expected 1 to 10800"),
        ("player", lambda old: [*old[:-1], 2**64 - 1], "can't be read as box scores"),
        ("player", lambda old: [old[0], old[0], *old[2:]], "game 203303060LAL: players is a player twice"),
        ("first_s", lambda old: [math.inf, *old[1:]], "game 203303060LAL: first_s is inf; expected 0 to 10800"),
        ("first_s", None, "lacks the column first_s"),
        ("plus_minus", lambda old: [None, *old[1:]], "plus_minus is missing in 1 rows"),
        ("started", lambda old: [False] * len(old), "0 starters of the home team; expected 5"),
    ],
)
def test_a_wrong_file_is_refused_by_name(
    tmp_path: Path, column: str, change: Callable[[list[Any]], list[Any]] | None, message: str
) -> None:
    of = columns()
    old = of.pop(column)
    if change is not None:
        of[column] = change(old)
    with pytest.raises(DataError, match=rf"players_2033\.parquet.*{message}"):
        read_box_scores(write(tmp_path, of))
