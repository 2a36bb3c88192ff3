"""Contents of a bundle's files: any that the trainer does not write is refused by the name of the file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.store.manifests import contents, resealed

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import BundleCorrupt
from dejavu_models.manifest import CALIBRATION, LINEAR, RATINGS, TOTALS, WEIGHTS
from dejavu_models.totals.model import TABLES as TOTAL_TABLES
from dejavu_models.types import WITHOUT_LINE, MarginSource
from dejavu_store.bundle import publish, read_manifest
from dejavu_store.contents import load_contents
from dejavu_store.registry import default_bundle


@pytest.mark.parametrize("name", ["lstm.npz", LINEAR, "dejavu.npz", WEIGHTS, CALIBRATION, RATINGS])
def test_a_file_of_another_form_is_refused_though_its_hash_fits(small_bundle: Path, tmp_path: Path, name: str) -> None:
    """Hashes detect corruption; a file packed by mistake with a correct hash must also be rejected by name."""
    files = contents(small_bundle) | {name: b"PK\x03\x04 something else" * 10}
    with pytest.raises(BundleCorrupt, match=name):
        publish(tmp_path / "mistaken", resealed(read_manifest(small_bundle), files), files)


@pytest.mark.parametrize("source", WITHOUT_LINE)
def test_a_calibration_that_lacks_a_kind_of_margin_is_refused(
    small_bundle: Path, tmp_path: Path, source: MarginSource
) -> None:
    files = contents(small_bundle)
    columns = from_npz(files[CALIBRATION])
    kept = columns["lattice"][:, 0] != source
    files[CALIBRATION] = to_npz(**{name: values[kept] for name, values in columns.items()})
    with pytest.raises(BundleCorrupt, match=rf"calibration.npz .*no tables for margins that are {source.name}"):
        publish(tmp_path / "mistaken", resealed(read_manifest(small_bundle), files), files)


@pytest.mark.parametrize("size", [31, 36])
def test_ratings_of_another_number_of_values_are_refused(small_bundle: Path, tmp_path: Path, size: int) -> None:
    files = contents(small_bundle) | {RATINGS: to_npz(mean=np.zeros(size), covariance=np.eye(size))}
    with pytest.raises(BundleCorrupt, match=rf"ratings.npz .*\({size},\); expected 35 values"):
        publish(tmp_path / "mistaken", resealed(read_manifest(small_bundle), files), files)


def _empty(array: NDArray[Any]) -> NDArray[Any]:
    return np.atleast_1d(array)[..., :0]


@pytest.mark.parametrize("change", [np.ravel, np.array_str, _empty])
def test_a_file_whose_arrays_have_another_shape_or_type_is_refused_by_its_name(
    change: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    folder = default_bundle()
    for name in (LINEAR, CALIBRATION, RATINGS, TOTALS, "dejavu.npz", WEIGHTS):
        files = contents(folder)
        columns = from_npz(files[name])
        files[name] = to_npz(**{column: np.asarray(change(array)) for column, array in columns.items()})
        with pytest.raises(BundleCorrupt, match=f"{name} cannot be read"):
            load_contents("x", read_manifest(folder), files)


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        (CALIBRATION, ("games",), "one row each for up to 12 kinds"),
        (CALIBRATION, (), "one row each for up to 12 kinds"),
        (TOTALS, ("sources", "games", *TOTAL_TABLES), "at most 4 rows"),
    ],
)
def test_rows_that_nobody_needs_are_refused_before_they_take_time_and_memory(
    name: str, columns: tuple[str, ...], said: str
) -> None:
    folder = default_bundle()
    files = contents(folder)
    arrays = from_npz(files[name])
    for each in columns or arrays:
        arrays[each] = np.repeat(arrays[each], 9, axis=0)
    with pytest.raises(BundleCorrupt, match=f"{name} cannot be read: .*{said}"):
        load_contents("x", read_manifest(folder), files | {name: to_npz(**arrays)})


def test_archives_that_unpack_to_too_much_are_refused_before_they_are_unpacked() -> None:
    folder = default_bundle()
    files = contents(folder) | {LINEAR: to_npz(coefficients=np.zeros(2**24))}
    assert len(files[LINEAR]) < 2**20
    with pytest.raises(BundleCorrupt, match=rf"{LINEAR} .* 1\d\d,\d\d\d,\d\d\d bytes; expected 134,217,728 at most"):
        load_contents("x", read_manifest(folder), files)


def test_archives_of_many_arrays_are_refused_however_small_they_are() -> None:
    folder = default_bundle()
    files = contents(folder) | {LINEAR: to_npz(**{f"a{number}": np.zeros(0) for number in range(5000)})}
    with pytest.raises(BundleCorrupt, match=rf"{LINEAR} .* expected 134,217,728 at most"):
        load_contents("x", read_manifest(folder), files)


def test_an_archive_that_lists_an_array_twice_is_refused() -> None:
    """It would be unpacked as often as it is listed, though all entries but the last may say that it is empty."""
    buffer = io.BytesIO((default_bundle() / RATINGS).read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("mean.npy", archive.read("mean.npy"))
    with pytest.raises(ValueError, match="lists an array twice"):
        from_npz(buffer.getvalue())


def test_pickles_are_never_opened(small_bundle: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, coefficients=np.array([{"an": "object"}], dtype=object))
    files = contents(small_bundle) | {LINEAR: buffer.getvalue()}
    with pytest.raises(BundleCorrupt, match="allow_pickle"):
        publish(tmp_path / "pickled", resealed(read_manifest(small_bundle), files), files)
