"""Exports of the track record: the same columns in CSV and parquet, and lossless round trips."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tests.support.fakes.service import card, recorded

from dejavu.v1.forecast_pb2 import TotalForecast
from dejavu.v1.record_pb2 import RecordedPrediction, TotalSettlement
from dejavu.v1.record_service_pb2 import ScoreFilter
from dejavu.v1.scorecard_pb2 import LeftOut, Scorecard
from dejavu_client import FINAL
from dejavu_client.export import (
    FIGURE_COLUMNS,
    PREDICTION_COLUMNS,
    figure_rows,
    write_csv,
    write_parquet,
)

READ: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: {"true": True, "false": False}[text],
    datetime: datetime.fromisoformat,
    list: lambda text: [float(number) for number in text.split()],
}
"""Parses a cell of a CSV file, by column type."""

floats = st.floats(-150, 150)
predictions = st.builds(
    recorded,
    st.integers(1, 2**53),
    settled=st.booleans(),
    quoted=st.booleans(),
    superseded=st.booleans(),
    pattern=st.lists(st.integers(-60, 60).map(float), max_size=5),
    point_forecast=floats,
    home_team=st.sampled_from(["", "BOS"]),
    distribution=st.lists(floats.map(lambda value: round(value, 3)), max_size=3),
)


def from_csv(path: Path) -> list[dict[str, Any]]:
    kinds = {column.name: column.kind for column in PREDICTION_COLUMNS}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: READ[kinds[name]](text) if text else None for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


@given(st.lists(predictions, max_size=4))
def test_both_files_read_back_as_what_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RecordedPrediction]
) -> None:
    place = tmp_path_factory.mktemp("files")
    assert write_csv(place / "a.csv", PREDICTION_COLUMNS, rows) == len(rows)
    assert write_parquet(place / "a.parquet", PREDICTION_COLUMNS, rows) == len(rows)
    table = parquet.read_table(place / "a.parquet")
    assert table.column_names == [column.name for column in PREDICTION_COLUMNS]
    expected = [{column.name: column.pick(row) for column in PREDICTION_COLUMNS} for row in rows]
    assert table.to_pylist() == expected
    # CSV does not distinguish an empty list from a missing one.
    assert from_csv(place / "a.csv") == [
        {name: value or (None if value == [] else value) for name, value in row.items()} for row in expected
    ]
    assert sorted(path.name for path in place.iterdir()) == ["a.csv", "a.parquet"]


def test_a_recorded_forecast_has_these_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", PREDICTION_COLUMNS, [recorded(7, quoted=True)])
    table = parquet.read_table(tmp_path / "a.parquet")
    assert {str(field.type) for field in table.schema} == {
        "string",
        "int64",
        "double",
        "bool",
        "timestamp[us, tz=UTC]",
        "list<element: double>",
    }
    [row] = table.to_pylist()
    assert (row["sequence"], row["game_id"], row["horizon"], row["elapsed_minutes"]) == (7, "0022500123", "half", 18)
    assert row["generated_time"] == datetime(2026, 1, 15, 2, 31, 0, 250, tzinfo=UTC)
    assert (row["outcome"], row["error"], row["covered"], row["crps"]) == (-7, 13.25, False, 7.5)
    assert (row["last_differential"], row["pattern"]) == (5.0, [0.0, 1.0, 5.0])
    assert (row["market_line"], row["market_bankroll"], row["market_side"], row["market_stake"]) == (
        5.5,
        1.0,
        "away",
        0.02,
    )
    assert (row["market_result"], row["market_profit"]) == ("won", 0.019)


def test_what_is_not_there_is_missing_and_not_nought(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", PREDICTION_COLUMNS, [recorded(7, settled=False)])
    [row] = from_csv(tmp_path / "a.csv")
    assert {"outcome", "error", "crps", "market_line"} <= {name for name, value in row.items() if value is None}
    assert row["revision"] == 0


def test_the_figures_of_a_scorecard_are_rows(tmp_path: Path) -> None:
    scope = ScoreFilter(
        model_version="abc", horizon=FINAL, from_date="2026-01-01", min_minutes=12, min_confidence=0.75, team="BOS"
    )
    write_parquet(tmp_path / "a.parquet", FIGURE_COLUMNS, figure_rows(scope, card()))
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    by_name = {(row["figure"], row["alpha"]): row for row in rows}
    assert len(by_name) == len(rows)
    mae = by_name["mae", None]
    assert (mae["value"], mae["lower"], mae["upper"], mae["games"], mae["forecasts"]) == (5.25, 4.5, 6.0, 312, 14890)
    named = ("model_version", "horizon", "from_date", "to_date", "min_minutes", "max_minutes", "team", "min_confidence")
    assert [mae[name] for name in named] == ["abc", "final", "2026-01-01", None, 12, None, "BOS", 0.75]
    assert (by_name["coverage", 0.05]["value"], by_name["mean_width", 0.2]["games"]) == (0.946, 12)
    of_return = by_name["market_roi", None]
    assert (of_return["value"], of_return["lower"], of_return["upper"]) == (0.025, -0.1, 0.15)


@pytest.mark.parametrize("counted", [Scorecard(), card()], ids=["nothing counts", "some count"])
def test_what_a_scorecard_leaves_out_and_warns_of_is_in_its_file(counted: Scorecard) -> None:
    """Otherwise an exported file would hide warnings that the same command shows on a terminal."""
    told: dict[str, Any] = {"withdrawn_games": 1, "corrected_games": 2, "unsettled_games": 3, "doubtful_games": 5}
    left_out = {each.name: 10 + each.number for each in LeftOut.DESCRIPTOR.fields}
    counted.MergeFrom(Scorecard(left_out=LeftOut(**left_out), **told))
    rows = {row.figure: row.value for row in figure_rows(ScoreFilter(), counted)}
    assert rows.items() >= {**told, **{f"left_out_{name}": count for name, count in left_out.items()}}.items()
    assert ("mae" in rows) == (counted.games > 0)


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_that_is_not_finished_takes_nobody_s_place(tmp_path: Path, write: Any) -> None:
    def broken() -> Iterator[RecordedPrediction]:
        yield recorded(1)
        raise RuntimeError("the server is gone")

    path = tmp_path / "a"
    path.write_text("of yesterday")
    with pytest.raises(RuntimeError, match="the server is gone"):
        write(path, PREDICTION_COLUMNS, broken())
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "of yesterday"


def test_totals_have_columns_of_their_own() -> None:
    one = recorded(7)
    one.forecast.total.MergeFrom(TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242))
    one.settlement.total.MergeFrom(
        TotalSettlement(error=-7.6, absolute_error=7.6, pace_absolute_error=8.6, covered=True, crps=4.2)
    )
    one.outcome.total_points = 231
    columns = {column.name: column.pick for column in PREDICTION_COLUMNS if "total" in column.name}
    expected = {
        "total_forecast": 223.4,
        "total_lower": 206.0,
        "total_upper": 242.0,
        "total_outcome": 231,
        "total_error": -7.6,
        "total_pace_absolute_error": 8.6,
        "total_covered": True,
        "total_crps": 4.2,
    }
    assert {name: columns[name](one) for name in expected} == expected
    assert {columns[name](recorded(7)) for name in expected} == {None}
