"""Type aliases for the arrays passed between models, and their file format."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Points, distances, probabilities."""

Singles = NDArray[np.float32]
"""Inputs of the LSTM, and vectors of search graphs."""

Integers = NDArray[np.int64]

_KINDS = "biufUM"
"""Kinds of arrays that a bundle may have. Complex numbers are excluded: they would silently lose their imaginary
part."""


def to_npz(**columns: NDArray[Any]) -> bytes:
    """Serialize arrays as a compressed .npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns)
    return buffer.getvalue()


def from_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """Deserialize the output of `to_npz`.

    Raises:
        ValueError: if the content is invalid.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # np.load would read its directory once more
            columns = {each.filename.removesuffix(".npy"): _array(archive.read(each)) for each in _members(archive)}
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"not an archive of arrays: {error}") from error
    for name, column in columns.items():
        if column.dtype.kind not in _KINDS:
            raise ValueError(f"array {name} is {column.dtype}; expected numbers, texts or dates")
    return columns


def check_array(name: str, values: NDArray[Any], kind: Any, shape: tuple[int, ...], *bounds: float) -> None:
    """Check an array of a bundle.

    Args:
        name: its name, for the message.
        values: the array.
        kind: type of its numbers, such as np.float64, or a class of types, such as np.unsignedinteger.
        shape: its shape.
        bounds: its least and its greatest possible number; none if any is possible.

    Raises:
        ValueError: if its type or shape is another one, or a number is out of bounds, or NaN.
    """
    if not (issubclass(values.dtype.type, kind) and values.dtype.isnative and values.shape == shape):
        found = f"{values.dtype} of shape {values.shape}"
        raise ValueError(f"{name} is {found}; expected {kind.__name__} of shape {shape}")
    if bounds and not ((values >= bounds[0]) & (values <= bounds[1])).all():
        least, most = bounds
        raise ValueError(f"{name} must be within {f'±{most:g}' if least == -most else f'{least:g} to {most:g}'}")


def stacked(models: Sequence[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the columns of models that have `games` and tables of these names: a row each, tables as float32."""
    tables = {name: np.stack([getattr(model, name) for model in models]).astype(np.float32) for name in names}
    return {"games": np.array([model.games for model in models], dtype=np.int32), **tables}


def unstacked(columns: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the arguments of the models of `stacked` columns, tables as float64."""
    return [
        {"games": games, **{name: columns[name][row].astype(np.float64) for name in names}}
        for row, games in enumerate(columns["games"].tolist())
    ]


def npz_members(content: bytes) -> list[zipfile.ZipInfo]:
    """Return the directory of a .npz file: one entry per array, with its name and size.

    No array unpacks to more than the size in its entry. A name listed twice is refused: numpy would unpack its last
    entry twice.

    Raises:
        ValueError: if it has no directory, or one that lists an array twice.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _members(archive)
    except (OSError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"not an archive of arrays: {error}") from error


def _array(content: bytes) -> NDArray[Any]:
    column: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return column


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len({each.filename for each in members}) < len(members):
        raise ValueError("it lists an array twice")
    return members
