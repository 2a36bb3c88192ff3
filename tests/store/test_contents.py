"""Contents of a bundle's files: any that the trainer does not write is refused by the name of the file."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import BundleCorrupt
from dejavu_models.manifest import CALIBRATION, LINEAR, RATINGS, TOTALS, WEIGHTS
from dejavu_models.totals.model import TABLES as TOTAL_TABLES
from dejavu_store.bundle import read_files, read_manifest
from dejavu_store.contents import load_contents
from dejavu_store.default_bundles import default_bundle

MANIFEST = read_manifest(default_bundle())
FILES = read_files(default_bundle(), MANIFEST)

Columns = dict[str, NDArray[Any]]


def refusal(name: str, content: bytes) -> str:
    with pytest.raises(BundleCorrupt) as refused:
        load_contents("x", MANIFEST, FILES | {name: content})
    return str(refused.value)


def _empty(array: NDArray[Any]) -> NDArray[Any]:
    return np.atleast_1d(array)[..., :0]


@pytest.mark.parametrize("name", ["lstm.npz", LINEAR, "dejavu.npz", WEIGHTS, CALIBRATION, RATINGS, TOTALS])
def test_files_of_another_form_are_refused_by_their_name(name: str) -> None:
    """Hashes detect corruption; a file packed by mistake with a correct hash must also be rejected by name."""
    assert f"{name} cannot be read" in refusal(name, b"PK\x03\x04 something else" * 10)
    for change in (np.ravel, np.array_str, _empty):
        columns = {column: np.asarray(change(array)) for column, array in from_npz(FILES[name]).items()}
        assert f"{name} cannot be read" in refusal(name, to_npz(**columns))


def first(name: str, value: float) -> Callable[[Columns], Columns]:
    """Return a change of the first value of a column."""

    def change(columns: Columns) -> Columns:
        columns[name].reshape(-1)[0] = value
        return columns

    return change


def repeated(*names: str) -> Callable[[Columns], Columns]:
    """Return a change that repeats each row of some columns; of all if none is named."""
    return lambda columns: columns | {each: np.repeat(columns[each], 9, axis=0) for each in names or columns}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            RATINGS,
            lambda _: {"mean": np.zeros(33), "covariance": np.eye(33)},
            "its mean is float64 of shape (33,); expected float64 of shape (35,)",
        ),
        (RATINGS, first("mean", 1e300), "its mean must be within ±1000"),
        (RATINGS, first("mean", math.nan), "its mean must be within"),
        (RATINGS, first("mean", 300.0), "points; expected at most 200"),
        (RATINGS, first("covariance", -80.0), "its covariance has negative variances"),
        (RATINGS, first("covariance", 1e9), "its covariance must be within ±1e+06"),
        # Rows that nobody needs are refused before they take time and memory.
        (CALIBRATION, repeated("games"), "one row each for up to 12 kinds"),
        (CALIBRATION, repeated(), "one row each for up to 12 kinds"),
        (TOTALS, repeated("sources", "games", *TOTAL_TABLES), "at most 4 rows"),
        # Archives that unpack to too much are refused before they are unpacked, and those of many small arrays.
        (LINEAR, lambda _: {"coefficients": np.zeros(2**24)}, "bytes; expected 134,217,728 at most"),
        (LINEAR, lambda _: {f"a{number}": np.zeros(0) for number in range(5000)}, "expected 134,217,728 at most"),
    ],
)
def test_numbers_and_sizes_that_no_bundle_has_are_refused(
    name: str, change: Callable[[Columns], Columns], said: str
) -> None:
    told = refusal(name, to_npz(**change(from_npz(FILES[name]))))
    assert f"x: {name} cannot be read" in told
    assert said in told


def test_an_archive_that_lists_an_array_twice_is_refused() -> None:
    """It would be unpacked as often as it is listed, though all entries but the last may say that it is empty."""
    buffer = io.BytesIO(FILES[RATINGS])
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("mean.npy", archive.read("mean.npy"))
    assert "lists an array twice" in refusal(RATINGS, buffer.getvalue())


def test_pickles_are_never_opened() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, coefficients=np.array([{"an": "object"}], dtype=object))
    assert "allow_pickle" in refusal(LINEAR, buffer.getvalue())
