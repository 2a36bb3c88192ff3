"""Reads what an import found in the files of other projects."""

from __future__ import annotations

from typing import Any

from dejavu_trainer.data.import_plays import CheckedPlays


def timeline(checked: CheckedPlays) -> list[tuple[float, int, int]]:
    assert checked.problems == ()
    return [(row["elapsed_s"], row["home_score"], row["away_score"]) for row in checked.plays.to_pylist()]


def labels(checked: CheckedPlays) -> set[tuple[Any, ...]]:
    columns = ("game_id", "type", "home", "away", "game_date")
    return {tuple(row[column] for column in columns) for row in checked.plays.to_pylist()}
