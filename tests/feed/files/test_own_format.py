"""Files of plays in this project's format: the rows that are read, and the message of each fault."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import pytest

from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import MAX_PROBLEMS, GameInFiles
from dejavu_feed.files.own_format import read_own_format
from dejavu_feed.pattern import Score

HEADER = "game_id,type,home,away,elapsed_s,home_score,away_score"
GOOD = "202301010BOS,RS,BOS,BRK,60,2,0"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "plays.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_columns_may_come_in_any_order_and_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(
        "referee,away_score,home_score,elapsed_s,away,home,type,game_id\nJoe,0,2.0,60.5,BRK,BOS,PO,202301010BOS\n"
    )
    checked = read_own_format(path, 2023)
    [game] = checked.games
    assert game == GameInFiles("202301010BOS", "PO", date(2023, 1, 1), "BOS", "BRK", (Score(60.5, 2, 0),))


DATED = HEADER + ",game_date"


def test_games_with_ids_of_the_nba_bring_their_dates(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    rows = [
        "0022200563,RS,BOS,BRK,60,2,0,2023-01-01",
        "202301020BOS,RS,BOS,LAL,60,2,0,",
        "202301030BOS,RS,BOS,LAL,60,2,0,2023-01-03",
    ]
    path.write_text("\n".join([DATED, *rows]) + "\n")
    checked = read_own_format(path, 2023)
    assert checked.problems == ()
    assert [game.day for game in checked.games] == [date(2023, 1, 1), date(2023, 1, 2), date(2023, 1, 3)]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("0022200563,RS,BOS,BRK,60,2,0,", "game_date: '0022200563', an id of the NBA, contains no date; expected one"),
        ("0022200563,RS,BOS,BRK,60,2,0,2024-01-01", "game_id: 2024-01-01 is not in the season that ends in 2023"),
        (
            "202301010BOS,RS,BOS,BRK,60,2,0,2023-01-02",
            "game_date: '202301010BOS' begins with a date other than 2023-01-02",
        ),
    ],
)
def test_dates_that_are_missing_or_contradict_are_told(tmp_path: Path, row: str, complaint: str) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(f"{DATED}\n{row}\n")
    (problem,) = read_own_format(path, 2023).problems
    assert str(problem).startswith(f"row 1 (line 2), {complaint}")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("20230101BOS,RS,BOS,BRK,60,2,0", "row 2 (line 3), game_id: '20230101BOS' is not a game id"),
        ("202211010BOS,RS,LAL,BRK,60,2,0", "row 2 (line 3), home: 'LAL' is not the team that the game's id"),
        ("202401010BOS,RS,BOS,BRK,60,2,0", "row 2 (line 3), game_id: 2024-01-01 is not in the season"),
        ("202301010BOS,RS,BOS,BRK,61", "row 2 (line 3), home_score: is missing"),
        ("202301010BOS,RS,BOS,BRK,61,2,0,7", "row 2 (line 3): has more values than there are columns"),
        ("202301010BOS,pre,BOS,BRK,60,2,0", "row 2 (line 3), type: 'pre'; expected one of RS, PI, PO"),
        ("202301010BOS,PO,BOS,BRK,60,2,0", "row 2 (line 3), type: 'PO', but 'RS' in row 1 of the same game"),
        ("202211010BOS,RS,BOS,BOS,60,2,0", "row 2 (line 3), away: 'BOS' plays against itself"),
        ("202301010BOS,RS,BOS,ATL,60,2,0", "row 2 (line 3), away: 'ATL', but 'BRK' in row 1 of the same game"),
        ("202301010BOS,RS,BOS,BRK,nan,2,0", "row 2 (line 3), elapsed_s: 'nan'; expected game seconds"),
        ("202301010BOS,RS,BOS,BRK,-5,2,0", "row 2 (line 3), elapsed_s: '-5'; expected game seconds"),
        ("202301010BOS,RS,BOS,BRK,1_000,2,0", "row 2 (line 3), elapsed_s: '1_000'; expected game seconds"),
        ("202301010BOS,RS,BOS,BRK,٦٠,2,0", "row 2 (line 3), elapsed_s: '٦٠'; expected game seconds"),
        ("202301010BOS,RS,BOS,BRK,1e999,2,0", "row 2 (line 3), elapsed_s: '1e999'; expected game seconds"),
        ("202301010BOS,RS,BOS,BRK,59,2,0", "row 2 (line 3), elapsed_s: 59 after 60 in the same game: time runs back"),
        ("202301010BOS,RS,BOS,BRK,60,2.5,0", "row 2 (line 3), home_score: '2.5'; expected a whole number"),
        ("202301010BOS,RS,BOS,BRK,60,2,-1", "row 2 (line 3), away_score: '-1'; expected a whole number"),
        pytest.param(
            f"202301010BOS,RS,BOS,BRK,60,{'9' * 400},0", "row 2 (line 3), home_score: '999", id="a score beyond floats"
        ),
        ("202301010BOS,RS,BOS,BRK,60,401,0", "row 2 (line 3), home_score: '401'; expected a whole number"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(tmp_path: Path, row: str, complaint: str) -> None:
    checked = read_own_format(written(tmp_path, GOOD, row), 2023)
    assert str(checked.problems[0]).startswith(complaint)
    assert checked.games == ()


COLUMNS = HEADER.split(",")


def test_a_value_that_a_row_of_json_lacks_is_missing(tmp_path: Path) -> None:
    rows = [dict(zip(COLUMNS, GOOD.split(","), strict=True)), {"game_id": "202301010BOS"}]
    (tmp_path / "plays.json").write_text(json.dumps(rows))
    problems = read_own_format(tmp_path / "plays.json", 2023).problems
    assert {(problem.row, problem.message) for problem in problems} == {(2, "is missing")}


def test_a_file_of_nothing_but_problems_is_not_read_to_its_end(tmp_path: Path) -> None:
    checked = read_own_format(written(tmp_path, *["x"] * 20_000), 2023)
    assert MAX_PROBLEMS <= len(checked.problems) < MAX_PROBLEMS + len(COLUMNS)


def test_a_falling_score_is_a_correction_not_a_problem(tmp_path: Path) -> None:
    assert read_own_format(written(tmp_path, GOOD, "202301010BOS,RS,BOS,BRK,60,1,0"), 2023).problems == ()


PAGE = ["0,0,0", "60,2,0", "90,2,2", "90,4,2", "90,4,3", "120,7,3"]


@pytest.mark.parametrize(
    "again",
    [PAGE, PAGE[1:3], PAGE[2:5], PAGE[1:], [*PAGE[1:], "130,9,3", *PAGE[4:], "130,9,3"]],
    ids=["all", "a part", "a second", "to the end", "twice"],
)
def test_rows_that_repeat_earlier_ones_are_dropped_where_pages_overlap(tmp_path: Path, again: list[str]) -> None:
    rows = [f"202301010BOS,RS,BOS,BRK,{row}" for row in (*PAGE, *again, "130,9,3", "140,9,5")]
    checked = read_own_format(written(tmp_path, *rows), 2023)
    assert checked.problems == ()
    [game] = checked.games
    assert [score.elapsed for score in game.scores] == [0, 60, 90, 90, 90, 120, 130, 140]


def test_a_row_that_goes_back_in_time_and_repeats_none_is_refused_with_row_and_line(tmp_path: Path) -> None:
    rows = [f"202301010BOS,RS,BOS,BRK,{row}" for row in (*PAGE, *PAGE[:2], "90,3,2")]
    (problem,) = read_own_format(written(tmp_path, *rows), 2023).problems
    assert str(problem) == "row 9 (line 10), elapsed_s: 90 after 120 in the same game: time runs back"


def test_of_one_day_only_its_rows_are_read_and_validated(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    rows = [
        "202301010BOS,RS,BOS,BRK,60,2,0,",
        "202301020BOS,RS,BOS,BRK,60,x,0,",
        "0022200563,RS,MIA,ORL,60,2,0,2023-01-01",
        "nonsense",
    ]
    path.write_text("\n".join([DATED, *rows]) + "\n")
    checked = read_own_format(path, 2023, date(2023, 1, 1))
    assert (checked.problems, [game.home for game in checked.games]) == ((), ["BOS", "MIA"])
    (problem,) = read_own_format(path, 2023, date(2023, 1, 2)).problems
    assert str(problem).startswith("row 2 (line 3), home_score: 'x'")
    with pytest.raises(DataError, match="no game of 2023-01-03; its games are from 2023-01-01 to 2023-01-02"):
        read_own_format(path, 2023, date(2023, 1, 3))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "lacks the columns game_id"),
        (HEADER.encode(), "holds no row"),
        (b"game_id,type\nx,RS\n", "lacks the columns home, away, elapsed_s, home_score, away_score"),
        (b"\xff\xfe\x00", "can't be read as text: it is not in UTF-8"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_as_a_whole(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "plays.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        read_own_format(path, 2023)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv", ";"), ("a.txt", "|")])
def test_the_delimiter_is_found(tmp_path: Path, name: str, delimiter: str) -> None:
    note = "referee, first; second\tthird|fourth"
    header, row = (line.split(",") for line in (HEADER, GOOD))
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([[note, *header], [note, *row]])
    checked = read_own_format(tmp_path / name, 2023)
    assert checked.problems == ()
    assert [game.scores for game in checked.games] == [((60.0, 2, 0),)]
