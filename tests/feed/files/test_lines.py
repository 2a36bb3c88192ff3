from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dejavu_feed.errors import DataError
from dejavu_feed.files.lines import read_lines
from dejavu_feed.lines import NO_LINE, Line

DAY = date(2024, 1, 5)


def written(folder: Path, content: str, name: str = "lines.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("date,home,away,pregame_margin,total\n2024-01-05,BOS,UTA,12.5,231.5", Line(12.5, 231.5)),
        ("date,home,away,spread\n2024-01-05,Celtics,Utah,-12½", Line(12.5)),
        ("game_date;home_team;away_team;home_spread\n2024-01-05;BOS;UTA;−12,5", Line(12.5)),
        ("date\thome\taway\tspread\ttotal\n2024-01-05\tBOS\tUTA\tPK\t", Line(0.0)),
        ("date,home,away,moneyline_home,moneyline_away\n2024-01-05,BOS,UTA,-700,+500", Line(12.5)),
        ("date,home,away,moneyline_home,moneyline_away\n2024-01-05,BOS,UTA,1.91,1.91", Line(0.0)),
        ("date,home,away,total\n2024-01-06T00:30:00Z,BOS,UTA,231", Line(None, 231.0)),  # the evening before in Boston
        ("game_id,spread\n0022300500,3.5", Line(-3.5)),
        ("game_id,spread\n22300500,3.5", Line(-3.5)),  # as a number in a spreadsheet
        ("game_id,date,home,away,spread\n202401050BOS,2024-01-05,BOS,UTA,3.5", Line(-3.5)),
        ("game_id,date,home,away,spread\n,2024-01-05,BOS,UTA,4\n22300500,,,,3.5", Line(-3.5)),
        ("game_id,home,away,spread,total\n22300500,UTA,BOS,3.5,221", Line(3.5, 221.0)),  # of the other side
        ("game_id,home,away,spread\n22300500,BOS,DEN,3.5", None),  # another game
        ("game_id,date,home,away,spread\n,2024-01-05,BOS,UTA,4\n22300500,,BOS,DEN,3.5", Line(-4.0)),
        ("date,home,away,spread\n2024-01-05,BOS,UTA,NA", NO_LINE),
        ("date,home,away,spread\n2024-01-06,BOS,UTA,3.5", None),
        ("date,home,away,spread\n2024-01-05,UTA,BOS,3.5", None),
    ],
)
def test_a_line_is_found_in_every_form_that_books_print(tmp_path: Path, content: str, line: Line | None) -> None:
    assert read_lines(written(tmp_path, content)).of("0022300500", DAY, "BOS", "UTA") == line


@pytest.mark.parametrize("row", [",2024-01-05,Duke,Jackson State,-41.5", "0022300501,,Duke,UTA,-3.5"])
def test_a_row_of_unknown_teams_costs_no_other_row_whatever_else_it_has(tmp_path: Path, row: str) -> None:
    lines = read_lines(written(tmp_path, f"game_id,date,home,away,spread\n{row}\n0022300500,,BOS,UTA,-5.5"))
    assert "line 2 is skipped: 'Duke' against " in lines.skipped
    assert [lines.of(game_id, None, "BOS", "UTA") for game_id in ("0022300500", "0022300501")] == [Line(5.5), None]


def test_a_row_of_the_id_of_another_game_is_named(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, "game_id,home,away,spread\n0022300500,BOS,DEN,3.5"))
    assert lines.of_others("0022300500", "BOS", "DEN") == lines.of_others("0022300501", "BOS", "UTA") == ""
    assert lines.of_others("0022300500", "BOS", "UTA") == (
        "the row of game 0022300500 is of DEN @ BOS, not UTA @ BOS; it is not used"
    )


@pytest.mark.parametrize(
    ("column", "spreads", "refused"),
    [
        ("whos_favored", ("5.5", "2"), True),
        ("favorite", ("5.5", "PK"), True),
        ("whos_favored", ("5.5", "-2"), False),
        ("whos_favored", ("PK", "0"), False),
        ("note", ("5.5", "2"), False),
    ],
)
def test_spreads_without_a_sign_beside_the_favorite_are_refused(
    tmp_path: Path, column: str, spreads: tuple[str, str], refused: bool
) -> None:
    """Otherwise each favorite at home would be read as an underdog."""
    one, other = spreads
    path = written(
        tmp_path, f"date,home,away,{column},spread\n2024-01-05,BOS,UTA,home,{one}\n2024-01-05,LAL,DEN,away,{other}"
    )
    if not refused:
        assert len(read_lines(path).rows) == 2
        return
    with pytest.raises(DataError, match=f"{column} says whom spread favors.*expected spread of the home team, below 0"):
        read_lines(path)


def test_json_and_a_game_without_a_date(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, '[{"gameId": "0022300500", "spread": "-3.5", "total": 220}]', "lines.json"))
    assert lines.of("0022300500", None, "BOS", "UTA") == Line(3.5, 220.0)
    assert lines.of("0022300501", None, "BOS", "UTA") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("date,home,away,price\n2024-01-05,BOS,UTA,3", "lacks pregame_margin, spread, moneyline_home"),
        ("home,away,spread\nBOS,UTA,3", "line 2: the game is missing: expected game_id, or date, home and away"),
        (
            "date,home,away,spread\n2024-01-05,BOS,UTA,3\n2024-01-05,DEN,LAL,1_0",
            "line 3: spread: '1_0' is not a number",
        ),
        ("date,home,away,spread\n2024-01-05,BOS,UTA,-650", "line 2: a margin of 650; expected at most 35 points"),
        ("date,home,away,spread\n2024-01-05,BOS,UTA,-5,5", "line 2: there are more values than columns"),
        ("date,home,away,total\n2024-01-05,BOS,UTA,22", "line 2: total is 22; expected 150 to 300"),
        ("date,home,away,moneyline_home,moneyline_away\n2024-01-05,BOS,UTA,0.5,+100", "line 2: moneyline_home"),
        (
            "date,home,away,moneyline_home,moneyline_away\n2024-01-05,BOS,UTA,-525,-525",  # was in real closing lines
            "line 2: the two prices imply 168 % together; expected 99 to 115: one of them is wrong",
        ),
        ("game_id,moneyline_home,moneyline_away\n0022300500,1.9,19.5", "line 2: the two prices imply 58 % together"),
        (
            "date,home,away,spread\n2024-01-05,BOS,UTA,3.5\n2024-01-05,BOS,UTA,4",
            "line 3: row 1 is of the same game; expected one row for each game",
        ),
        (
            "date,home,away,spread\n2024-01-05,BOS,UTA,3.5\n2024-01-05,UTA,BOS,-3.5",
            "line 3: row 1 is of the same game",
        ),
        ("game_id,spread,home_spread\n0022300500,3.5,-3.5", "line 2: spread and home_spread differ; expected one"),
        ("game_id,spread,pregame_margin\n0022300500,3.5,3.5", "line 2: pregame_margin and spread contradict"),
        ("game_id,spread,spread\n0022300500,3.5,-3.5", "has 'spread' twice; expected each column once"),
        ("date,home,away,spread\n2024-01-05,BOS,UTA,nan", "line 2: spread: 'nan' is not a number"),
    ],
)
def test_what_is_no_line_is_refused_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(").replace("'", ".")):
        read_lines(written(tmp_path, content))


@pytest.mark.real_data
def test_real_closing_lines_are_read(data_dir: Path) -> None:
    lines = read_lines(data_dir / "lines" / "closing_lines_2014_2024.parquet")
    assert len([key for key in lines.rows if isinstance(key, str)]) == 14_155
    assert lines.of("", date(2013, 10, 29), "IND", "ORL") == Line(12.0, 188.5)
