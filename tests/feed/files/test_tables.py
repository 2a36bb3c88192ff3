"""A table of any size and content is read in bounded memory, or refused by the name of its file."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from dejavu_feed.errors import DataError
from dejavu_feed.files.tables import read_rows


def repeated(text: str, rows: int) -> pa.Array:
    """Return a text in many rows, which a file stores only once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


UNBOUNDED: dict[str, tuple[Any, str]] = {
    "one text in many rows": (repeated("x" * 100_000, 1_024), "text has a value of 100,000 bytes; expected 1,000"),
    "a text in one of many rows": (pa.array(["", None, "x" * 1_001]), "text has a value of 1,001 bytes"),
    "wide bytes": (pa.array([b"x" * 2_000], pa.binary(2_000)), "text has a value of 2,000 bytes"),
    "rows": (repeated("x", 2_000_001), "has 2,000,001 rows; expected 2,000,000 at most"),
    "lists": (pa.array([["x"]]), "text holds lists or records; expected single values"),
    "records": (pa.array([{"x": "y"}]), "text holds lists or records"),
}


@pytest.mark.parametrize(("column", "said"), UNBOUNDED.values(), ids=UNBOUNDED)
def test_parquet_that_would_take_too_much_is_refused_before_its_rows_are_made(
    column: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "plays.parquet"
    parquet.write_table(pa.table({"text": column}), path, compression="zstd")
    pool, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(DataError, match=rf"plays.parquet: {said}"):
            next(read_rows(path, ["text"]))
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 2_000_000


def test_many_wide_values_of_parquet_are_not_read_at_once(tmp_path: Path) -> None:
    path, rows = tmp_path / "plays.parquet", 100_000
    parquet.write_table(pa.table({"wide": pa.array([b"x" * 1_000] * rows, pa.binary(1_000))}), path, compression="zstd")
    pool, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert sum(1 for _ in read_rows(path, ["wide"])) == rows
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 1_000 * rows / 4


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_device_which_may_have_no_end_and_a_large_file_are_refused(suffix: str, tmp_path: Path) -> None:
    device, large = tmp_path / f"device.{suffix}", tmp_path / f"large.{suffix}"
    device.symlink_to("/dev/null")
    with large.open("wb") as file:
        file.truncate(500_000_001)
    for path, said in ((device, "is a device or a pipe; expected a file"), (large, "has 500,000,001 bytes; expected")):
        with pytest.raises(DataError, match=said):
            next(read_rows(path, ["text"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (",".join(["text", *map(str, range(1_000))]) + "\n1\n", "has 1,001 columns; expected 1,000 at most"),
        ("text\n" + '"\n",' * 50_000, "has a row of 100,000 characters or more"),
        pytest.param("text\n" + "1\n" * 2_000_001, "has more than 2,000,000 rows", marks=pytest.mark.nightly),
    ],
    ids=["columns", "row of many lines", "rows"],
)
def test_text_that_would_take_too_much_is_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        deque(read_rows(path, ["text"]), maxlen=0)
