"""Games of a replay: simulated, or read from a file of plays."""

from __future__ import annotations

import csv
import itertools
import random
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import fill_idle_plays, recorded_evening
from dejavu_feed.replay.simulate import simulate_game

DAY = date(2023, 3, 6)
Row = dict[str, object]


def rows(game_id: str = "202303060LAL", home: str = "LAL", away: str | None = "PHO") -> list[Row]:
    moments = [(0.0, 0, 0), (100.5, 2, 0), (1080.0, 2, 3), (1500.0, 4, 3), (2880.0, 5, 3)]
    return [
        {"game_id": game_id, "type": "RS", "home": home, "away": away, "elapsed_s": t, "home_score": h, "away_score": a}
        for t, h, a in moments
    ]


def write(path: Path, of_games: list[Row]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(of_games[0]))
            writer.writeheader()
            writer.writerows(of_games)
    else:
        parquet.write_table(pa.Table.from_pylist(of_games), path)
    return path


@pytest.mark.parametrize("name", ["plays.parquet", "plays.csv"])
def test_games_that_cannot_be_played_again_are_left_out_and_named(name: str, tmp_path: Path) -> None:
    tied = rows("202303060BOS", "BOS")
    tied[-1]["away_score"] = tied[-1]["home_score"]
    quarterless = [row for row in rows("202303060NYK", "NYK") if row["elapsed_s"] != 1500.0]
    path = write(
        tmp_path / name,
        [*rows(), *rows("202303060DEN", "DEN", None), *tied, *quarterless],
    )

    games, left_out = recorded_evening(path, DAY)

    assert [game.source for game in games] == ["202303060LAL"]
    assert left_out == (
        "202303060DEN: away is missing",
        "202303060BOS: it ends tied",
        "202303060NYK: quarter 3 has no row",
    )


@given(seed=st.integers(0, 10**6))
def test_quiet_plays_leave_the_course_as_it_is_and_no_long_gap(seed: int) -> None:
    scores = simulate_game(random.Random(seed))
    filled = fill_idle_plays(scores)

    assert set(scores) <= set(filled)
    assert slots(filled, 48) == slots(scores, 48)
    assert list(filled) == sorted(filled, key=lambda score: score.elapsed)
    assert max(then.elapsed - score.elapsed for score, then in itertools.pairwise(filled)) <= 12.1
    assert filled[-1].elapsed >= 2868
