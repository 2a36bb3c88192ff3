"""Files of box scores: read beside the plays, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.builders.box_scores import made_box_score

from dejavu_feed.errors import DataError
from dejavu_trainer.data.box_scores import SCHEMA, read_box_scores
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season

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
    write(tmp_path, columns(first))
    games = load_games(tmp_path, [2033])
    assert games.box_scores[0] == made_box_score("LAL", "BOS", 5, 0)
    assert not any(games.box_scores[1:])
    assert games.fingerprint != without.fingerprint
    assert load_games(tmp_path, [2033]).fingerprint == games.fingerprint


def _without_a_column(of: Columns) -> None:
    del of["first_s"]


def _with_a_text(of: Columns) -> None:
    of["seconds"] = [f"{each} s" for each in of["seconds"]]


def _with_a_null(of: Columns) -> None:
    of["plus_minus"] = [None, *of["plus_minus"][1:]]


def _with_a_player_twice(of: Columns) -> None:
    of["player"][1] = of["player"][0]


def _without_starters(of: Columns) -> None:
    of["started"] = [False] * len(of["started"])


def _of_one_team(of: Columns) -> None:
    of["home"] = [True] * len(of["home"])


def _with_a_negative_time(of: Columns) -> None:
    of["seconds"][2] = -1


def _with_half_a_second(of: Columns) -> None:
    of["seconds"] = [each + 0.5 for each in of["seconds"]]


def _with_a_player_beyond_any_id(of: Columns) -> None:
    of["player"][-1] = 2**64 - 1


def _first_seen_never(of: Columns) -> None:
    of["first_s"][0] = math.inf


def _first_seen_at_no_time(of: Columns) -> None:
    of["first_s"][0] = math.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with_half_a_second, r"seconds is \d+\.5; expected a whole number"),
        (_with_a_player_beyond_any_id, "can't be read as box scores"),
        (_first_seen_never, "game 203303060LAL: first_s is inf; expected 0 to 10800"),
        (_first_seen_at_no_time, "first_s is nan; expected 0 to 10800"),
        (_without_a_column, "first_s"),
        (_with_a_text, "can't be read as box scores"),
        (_with_a_null, "plus_minus is missing in 1 rows"),
        (_with_a_player_twice, "game 203303060LAL: players is a player twice; expected one line a player"),
        (_without_starters, "0 starters of the home team; expected 5"),
        (_of_one_team, "players is 18 of the home team|0 of the away team|starters"),
        (_with_a_negative_time, r"players\[2\].seconds is -1; expected 1 to 10800"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, change: Callable[[Columns], None], message: str) -> None:
    of = columns()
    change(of)
    with pytest.raises(DataError, match=rf"players_2033\.parquet.*({message})"):
        read_box_scores(write(tmp_path, of))


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "players_2033.parquet"
    path.write_text("game_id,player\n")
    with pytest.raises(DataError, match="players_2033"):
        read_box_scores(path)


def test_one_row_a_million_times_in_a_small_file_is_refused(tmp_path: Path) -> None:
    row = {name: values[:1] * 2_000_001 for name, values in columns().items()}
    path = write(tmp_path, row)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(DataError, match="2,000,000 at most"):
        read_box_scores(path)
