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
