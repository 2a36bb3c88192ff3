"""The command `import`: files of plays become a season, or are refused or left out with the reason."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv
import pytest
from tests.support.builders.plays_files import complete_hoopr, hoopr, nba_api, written
from tests.trainer.harness import run, told

from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import read_plays
from dejavu_trainer.data.simulate import simulate_season

GOOD = "game_id,type,home,away,elapsed_s,home_score,away_score\n202301010BOS,RS,BOS,BRK,60,2,0\n"


def test_what_was_exported_is_imported_unchanged_with_its_dates(tmp_path: Path) -> None:
    plays, path = simulate_season(2023, seed=1, games=5), tmp_path / "mine.csv"
    pyarrow.csv.write_csv(plays, path)
    assert run("import", path, "--season", 2023, "--out", tmp_path / "data") == 0
    imported = read_plays(tmp_path / "data" / "plays_2023.parquet")
    assert imported.select(plays.column_names).to_pylist() == plays.to_pylist()
    assert {(row["game_id"][:8], f"{row['game_date']:%Y%m%d}") for row in imported.to_pylist()} == {
        (game_id[:8],) * 2 for game_id in plays["game_id"].to_pylist()
    }


def test_a_season_that_was_imported_is_loaded_for_training(tmp_path: Path) -> None:
    rows = complete_hoopr(*(f"2024-01-{day:02d}" for day in range(1, 9)))
    rows += hoopr(game_id=99, season_type=1)
    path = written(tmp_path / "pbp.csv", rows)
    arguments = ("import", path, "--from", "hoopr", "--season", 2024, "--out", tmp_path / "data")
    done = told(*arguments, "--json")
    document = done.document
    assert len(document.pop("not_imported")) == 1
    assert document == {
        "file": str(tmp_path / "data" / "plays_2024.parquet"),
        "rows": document["rows"],
        "games": 8,
        "left_out": 0,
        "regular_games": 8,
        "regular_games_expected": 1_230,
        "events": 8,
        "players": 0,
        **{key: [] for key in ("not_in_list", "without_events", "without_players")},
    }
    assert done.err == "left out 1 game (99): of no part of the season that counts (preseason, All-Star)\n"
    games = load_games(tmp_path / "data", [2024])
    assert games.game_id.tolist() == [f"2024010{day}0DEN" for day in range(1, 9)]


def test_wrong_rows_are_told_together_and_nothing_is_written(tmp_path: Path) -> None:
    bad = "202301010BOS,RS,BOS,BRK,30,2,0\n"
    (tmp_path / "mine.csv").write_text(GOOD + bad * 30)
    arguments = ("import", tmp_path / "mine.csv", "--season", 2023, "--out", tmp_path / "data")
    lines = told(*arguments).err.splitlines()
    assert lines[0].endswith("row 2 (line 3), elapsed_s: 30 after 60 in the same game: time runs back")
    assert lines[-1].endswith("30 problems; nothing was written")
    refused = told(*arguments, "--json")
    problems = refused.document["problems"]
    assert (refused.code, len(problems)) == (1, 30)
    assert problems[0].keys() == {"row", "line", "column", "message", "file"}
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("file", "options", "complaint"),
    [
        ("none.csv", [], "/none.csv: there is no such file"),
        ("plays.csv", ["--events", "none.csv"], "none.csv: there is no such file"),
        ("plays.csv", [], "holds no complete game"),  # one row: three quarters have none
        ("nba.csv", ["--from", "nba_api"], "--from nba_api needs a list of games"),
    ],
)
def test_files_that_are_not_there_or_not_enough_are_told_and_nothing_is_written(
    file: str, options: list[str], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "plays.csv").write_text(GOOD)
    written(tmp_path / "nba.csv", nba_api())
    refused = told("import", tmp_path / file, "--season", 2023, "--out", tmp_path / "data", *options)
    (line,) = refused.err.splitlines()
    assert (refused.code, complaint in line) == (1, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [["--games", "games.csv"], ["--from", "hoopr", "--events", "events.csv"]])
def test_options_that_do_not_go_together_are_refused(options: list[str], tmp_path: Path) -> None:
    assert run("import", tmp_path / "plays.csv", "--season", 2023, "--out", tmp_path, *options) == 2
