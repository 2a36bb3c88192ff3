"""Games in the files of other projects: in the columns of hoopR, pbpstats and nba_api, and real ones."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.builders.plays_files import (
    DAY,
    ELAPSED,
    GAME,
    LISTED,
    SOURCES,
    complete_hoopr,
    hoopr,
    hoopr_row,
    nba_api,
    pbpstats,
    written,
)

from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import MAX_PROBLEMS, CheckedGames
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import ESPN_TEAMS, Source
from dejavu_feed.nba.stats_payloads import read_game_log, read_score_timeline
from dejavu_feed.pattern import Score
from dejavu_feed.teams import TEAMS


def timeline(checked: CheckedGames) -> list[Score]:
    assert checked.problems == ()
    return [score for game in checked.games for score in game.scores]


def labels(checked: CheckedGames) -> set[tuple[Any, ...]]:
    return {(game.game_id, game.phase, game.home, game.away, game.day) for game in checked.games}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "games.csv"
    path.write_text(LISTED)
    return path


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_gives_the_same_game(source: Source, tmp_path: Path, listed: Path) -> None:
    path = written(tmp_path / "pbp.csv", SOURCES[source]())
    checked = read_games([path], source, 2024, listed)
    assert timeline(checked) == ELAPSED
    assert labels(checked) == {(GAME, "RS", "DEN", "LAL", date(2023, 10, 24))}


def test_a_table_of_parquet_with_dates_and_nulls_is_read(tmp_path: Path) -> None:
    rows = hoopr(game_date=date.fromisoformat(DAY), score_value=None)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pbp.parquet")
    assert timeline(read_games([tmp_path / "pbp.parquet"], Source.HOOPR, 2024)) == ELAPSED


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_of_nothing_but_problems_is_not_read_to_its_end(source: Source, tmp_path: Path, listed: Path) -> None:
    rows = [dict.fromkeys(row, "?") for row in SOURCES[source]()]
    path = written(tmp_path / "pbp.csv", rows * (5_000 // len(rows)))
    checked = read_games([path, path], source, 2024, listed)
    assert MAX_PROBLEMS <= len(checked.problems) < MAX_PROBLEMS + len(rows[0])
    assert checked.at_least == "at least "


def test_a_response_that_pbpstats_saved_is_read_from_its_folder(tmp_path: Path, listed: Path) -> None:
    rows = pbpstats(GAME_ID=GAME)
    payload = {
        "resultSets": [{"name": "PlayByPlay", "headers": [*rows[0]], "rowSet": [[*row.values()] for row in rows]}]
    }
    folder = tmp_path / "pbp"
    folder.mkdir()
    (folder / f"stats_{GAME}.json").write_text(json.dumps(payload))
    (folder / f"data_{GAME}.json").write_text("{}")
    assert timeline(read_games([folder], Source.PBPSTATS, 2024, listed)) == ELAPSED


def test_a_game_of_espn_without_an_nba_id_gets_one_of_its_date_and_home_team(tmp_path: Path, listed: Path) -> None:
    path = written(tmp_path / "pbp.csv", [*hoopr(), *hoopr(game_id=401584690, game_date="2023-10-26")])
    checked = read_games([path], Source.HOOPR, 2024, listed)
    assert {game_id for game_id, *_ in labels(checked)} == {GAME, "202310260DEN"}
    unlisted = read_games([path], Source.HOOPR, 2024)
    assert {game_id for game_id, *_ in labels(unlisted)} == {"202310240DEN", "202310260DEN"}


def test_a_club_that_moved_is_known_by_espn_s_number(tmp_path: Path) -> None:
    path = written(tmp_path / "pbp.csv", hoopr(away_team_abbrev="SEA", away_team_id=25))
    [(_, _, _, away, _)] = labels(read_games([path], Source.HOOPR, 2024))
    assert away == "OKC"
    assert sorted(ESPN_TEAMS.values()) == sorted(TEAMS)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"season_type": 1}, "of no part of the season that counts (preseason, All-Star)"),
        ({"home_team_abbrev": "EAST", "home_team_id": 31}, "EAST is not a team of the NBA"),
        ({"game_date": "2022-10-24"}, "of another season"),
        ({"away_team_abbrev": "DEN", "away_team_id": 7}, "DEN plays against itself"),
    ],
)
def test_a_game_that_does_not_belong_is_left_out_and_told(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = written(tmp_path / "pbp.csv", [*hoopr(), *hoopr(**{"game_id": 9, **fields})])
    checked = read_games([path], Source.HOOPR, 2024)
    assert [(game.game_id, game.reason) for game in checked.left_out] == [("9", reason)]
    assert timeline(checked) == ELAPSED


@pytest.mark.parametrize(
    ("game_id", "reason"),
    [
        ("0022300099", "it is not in the list of games"),
        ("0012300001", "of no part of the season that counts (preseason, All-Star)"),
        ("0022200061", "of another season"),
    ],
)
def test_a_game_with_an_nba_id_that_does_not_belong_is_left_out(
    game_id: str, reason: str, tmp_path: Path, listed: Path
) -> None:
    path = written(tmp_path / "pbp.csv", [*nba_api(), *nba_api(gameId=game_id)])
    checked = read_games([path], Source.NBA_API, 2024, listed)
    assert [(game.game_id, game.reason) for game in checked.left_out] == [(game_id, reason)]


@pytest.mark.parametrize(
    ("rows", "listing", "reason"),
    [
        (nba_api(), "LAL @ DEN,2023-10-24,,2", "its plays end with DEN 5, LAL 3; the list has LAL 2"),
        (nba_api(), "LAL @ DEN,2023-10-24,W,", "its plays end with another winner; the list has LAL"),
        (
            nba_api(),
            "LAL @ DEN,2023-10-24,W,5;DEN vs. LAL,2023-10-24,L,3",
            "its plays end with DEN 5, LAL 3; the list has LAL 5, DEN 3, the other way round",
        ),
        (nba_api(), "MIA @ IND,2023-10-24,,", "its plays are of DEN and LAL; the list has MIA @ IND on 2023-10-24"),
        (nba_api(), "DEN @ LAL,2023-10-24,,", "its plays have the teams the other way round; the list has DEN @ LAL"),
        (
            nba_api(),
            "DEN @ LAL,2023-10-24,,;DEN vs. LAL,2023-10-24,,",
            "the list has it as DEN @ LAL on 2023-10-24, 0022300061 and as DEN vs. LAL",
        ),
        (
            [*nba_api(), *nba_api(teamId=TEAMS["BOS"].number, location="h")],
            "LAL @ DEN,2023-10-24,,",
            "its home team is DEN, and BOS in ",
        ),
        (
            [*nba_api()[:1], nba_api()[1] | {"scoreHome": "9"}, *nba_api()[2:]],
            "LAL @ DEN,2023-10-24,,",
            "the score goes from 0–0 to 9–0 at 10:02 of Q1, which no shot explains (",
        ),
        (hoopr(), "DEN @ LAL,2023-10-24,,", "its plays have the teams the other way round; the list has DEN @ LAL"),
        (hoopr(), "LAL @ DEN,2023-10-23,,", "its plays are of 2023-10-24; the list has it a day off: LAL @ DEN on 20"),
        (
            hoopr(),
            "LAL @ DEN,2023-10-24,,\n0022300063,LAL @ DEN,2023-10-24,,",
            "the list has it twice: LAL @ DEN on 20",
        ),
        (hoopr(), "LAL @ DEN,2023-10-24,W,5", "its plays end with DEN 5, LAL 3; the list has LAL 5"),
        ([*hoopr(), *hoopr(game_date="2023-10-25")], "", "it has another date or season type in "),
    ],
)
def test_a_game_that_contradicts_itself_or_its_list_is_left_out(
    rows: list[dict[str, object]], listing: str, reason: str, tmp_path: Path
) -> None:
    source = Source.NBA_API if "gameId" in rows[0] else Source.HOOPR
    good = nba_api(gameId="0022300062") if source is Source.NBA_API else hoopr(game_id=7, game_date="2023-11-01")
    games = tmp_path / "list.csv"
    told = [f"{GAME},{row}" for row in listing.split(";") if row] + ["0022300062,LAL @ DEN,2023-11-01,,"]
    games.write_text("\n".join(["GAME_ID,MATCHUP,GAME_DATE,WL,PTS", *told]) + "\n")
    path = written(tmp_path / "plays.csv", [*rows, *good])
    checked = read_games([path], source, 2024, games)
    [game] = checked.left_out
    assert game.reason.startswith(reason)
    assert {game_id for game_id, *_ in labels(checked)} == {"0022300062"}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (hoopr(home_team_id="9" * 5000), None),
        (nba_api(teamId="9" * 5000, location=""), None),
        (hoopr(game_date="9999-12-31T23:59:59+00:00"), "of another season"),
    ],
)
def test_values_beyond_all_bounds_are_left_out_without_a_traceback(
    rows: list[dict[str, object]], reason: str | None, tmp_path: Path, listed: Path
) -> None:
    source = Source.NBA_API if "gameId" in rows[0] else Source.HOOPR
    (tmp_path / "pbp.json").write_text(json.dumps(rows))
    if reason is None:
        assert timeline(read_games([tmp_path / "pbp.json"], source, 2024, listed)) == ELAPSED
    else:
        with pytest.raises(DataError, match=reason):
            read_games([tmp_path / "pbp.json"], source, 2024, listed)


def result_set(headers: list[Any], row: list[Any]) -> str:
    return json.dumps({"resultSets": [{"headers": headers, "rowSet": [row]}]})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (result_set([["GAME_ID"]], [1]), "holds no table"),
        (result_set([{}], [1]), "holds no table"),
        (result_set(["gameId", "period", "gameId"], [1, 2, 3]), "has 'gameId' twice"),
        (result_set(["gameId", "period"], [1, 2, 3]), "row 1: expected 2 values, one for each column"),
        ('{"game": {"gameId": "1", "actions": [{"gameId": "2"}]}}', "row 1: expected an action of game '1'"),
        ('[{"gameId": NaN}]', "can't be read as JSON: NaN is not a value of JSON"),
    ],
)
def test_json_that_is_no_table_or_says_something_twice_is_refused(
    content: str, complaint: str, tmp_path: Path, listed: Path
) -> None:
    path = tmp_path / "pbp.json"
    path.write_text(content)
    with pytest.raises(DataError, match=complaint):
        read_games([path], Source.NBA_API, 2024, listed)


@pytest.mark.parametrize("scorer", ["DEN", "LAL"])
def test_a_game_whose_points_raise_the_score_of_the_other_team_is_left_out(scorer: str, tmp_path: Path) -> None:
    team = {"DEN": 7, "LAL": 13}[scorer]
    shots = [hoopr_row(1 + n // 10, f"{11 - n % 10}:00", 2 * n + 2, 0, team_id=team, scoring_play=1) for n in range(40)]
    path = written(tmp_path / "pbp.csv", [*shots, *complete_hoopr("2023-10-26")])
    reasons = [each.reason for each in read_games([path], Source.HOOPR, 2024).left_out]
    said = "home and away are in doubt: in 40 of 40 scoring plays, points of LAL raise the score of the home team, DEN"
    assert reasons == ([] if scorer == "DEN" else [said])


def test_values_of_parquet_that_python_cannot_hold_are_refused(tmp_path: Path) -> None:
    table = pa.table(
        {**{name: [value] for name, value in hoopr()[0].items()}, "game_date": pa.array([2**30], pa.date32())}
    )
    pq.write_table(table, tmp_path / "pbp.parquet")
    with pytest.raises(DataError, match="can't be read as parquet"):
        read_games([tmp_path / "pbp.parquet"], Source.HOOPR, 2024)


def test_at_a_neutral_site_the_plays_tell_the_home_team(tmp_path: Path) -> None:
    games = tmp_path / "list.csv"
    rows = ("LAL @ DEN,L,3", "DEN @ LAL,W,5")
    games.write_text("GAME_DATE,GAME_ID,MATCHUP,WL,PTS\n" + "".join(f"{DAY},{GAME},{row}\n" for row in rows))
    for source in (Source.NBA_API, Source.HOOPR):
        path = written(tmp_path / f"{source}.csv", SOURCES[source]())
        assert labels(read_games([path], source, 2024, games)) == {(GAME, "RS", "DEN", "LAL", date(2023, 10, 24))}


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024-01-06T00:30:00Z", "2024-01-05"),
        ("2024-01-05T19:30:00-05:00", "2024-01-05"),
        ("2024-01-05 22:30:00-08:00", "2024-01-05"),
        ("2024-01-06T00:00:00", "2024-01-06"),
        ("2024-01-06 00:30:00", None),
        ("2024-01-06T00:00:00Z", None),  # 7:00 pm of the 5th, or the date 6, as the NBA's schedule writes it
        ("0001-01-01T00:00:00+09:00", None),
    ],
)
def test_an_instant_is_dated_in_us_eastern(value: str, day: str | None, tmp_path: Path) -> None:
    path = written(tmp_path / "pbp.csv", hoopr(game_date=value))
    checked = read_games([path], Source.HOOPR, 2024)
    if day is None:
        assert {problem.column for problem in checked.problems} == {"game_date"}
        assert checked.problems[0].message.endswith("or a time with its zone, but not midnight in UTC")
    else:
        assert {game_date.isoformat() for *_, game_date in labels(checked)} == {day}


@pytest.mark.parametrize(
    ("source", "fields", "complaint"),
    [
        (Source.HOOPR, {"period_number": 15}, "period_number is '15', expected 1 to 14"),
        (Source.HOOPR, {"clock_display_value": "12:01"}, "clock_display_value is '12:01', expected the time left in"),
        (Source.HOOPR, {"home_score": "NA"}, "home_score is missing"),
        (Source.HOOPR, {"home_score": "2.5"}, "home_score is '2.5', expected 0 to 400"),
        (
            Source.HOOPR,
            {"game_date": "10/24/2023"},
            "game_date is '10/24/2023', expected a date such as 2024-10-22, or a time",
        ),
        (Source.HOOPR, {"home_team_id": 2}, "home_team_abbrev is 'DEN', but home_team_id is 2, BOS"),
        (Source.PBPSTATS, {"SCORE": "TIE"}, "SCORE is 'TIE', expected away and home points such as 12 - 10"),
        (Source.PBPSTATS, {"GAME_ID": "BOS"}, "GAME_ID is 'BOS', expected the NBA's id, ten digits"),
        (Source.NBA_API, {"clock": "11:60:1"}, "clock is '11:60:1', expected the time left in period 1"),
        (Source.NBA_API, {"scoreAway": ""}, "scoreAway is missing"),
    ],
)
def test_a_wrong_value_is_named_by_file_line_and_column(
    source: Source, fields: dict[str, Any], complaint: str, tmp_path: Path, listed: Path
) -> None:
    rows = SOURCES[source]()
    rows[1] |= fields
    path = written(tmp_path / "plays.csv", rows)
    (problem,) = read_games([path], source, 2024, listed).problems
    assert problem.located(path).startswith(f"{path} line 3: {complaint}")


def test_a_file_of_another_source_is_told_by_its_columns(tmp_path: Path, listed: Path) -> None:
    path = written(tmp_path / "pbp.csv", hoopr())
    with pytest.raises(DataError, match="lacks the columns gameId, period, clock, scoreHome, scoreAway"):
        read_games([path], Source.NBA_API, 2024, listed)


def test_pages_of_a_game_in_several_files_may_overlap(tmp_path: Path) -> None:
    rows = hoopr()
    paths = [written(tmp_path / "a.csv", rows[2:]), written(tmp_path / "b.csv", rows[:4])]
    assert timeline(read_games(paths, Source.HOOPR, 2024)) == ELAPSED


def _log(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["GAME_ID,GAME_DATE,MATCHUP", *rows]) + "\n")
    return path


@pytest.mark.real_data
def test_a_real_game_of_nba_api_has_the_timeline_of_a_fetch(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "feed" / "playbyplayv3_0022400001.json"
    log = _log(tmp_path, "0022400001,2024-11-12,ATL @ BOS")
    checked = read_games([path], Source.NBA_API, 2025, log)
    assert labels(checked) == {("0022400001", "RS", "BOS", "ATL", date(2024, 11, 12))}
    headers = ["GAME_ID", "GAME_DATE", "TEAM_ID", "MATCHUP", "WL", "PTS"]
    points = timeline(checked)[-1][1:]
    teams = zip(("BOS", "ATL"), ("BOS vs. ATL", "ATL @ BOS"), ("L", "W"), points, strict=True)
    listing = [["0022400001", "2024-11-12", TEAMS[code].number, text, won, pts] for code, text, won, pts in teams]
    payload = {"resultSets": [{"name": "LeagueGameLog", "headers": headers, "rowSet": listing}]}
    [game] = read_game_log(payload)
    fetched = read_score_timeline(json.loads(path.read_text()), game)
    assert timeline(checked) == [tuple(score) for score in fetched.scores]
