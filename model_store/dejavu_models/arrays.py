"""Type aliases for the arrays passed between models, and their file format."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Points, distances, probabilities."""

Singles = NDArray[np.float32]
"""Inputs of the LSTM and of the vector index."""

Integers = NDArray[np.int64]


def to_npz(**columns: NDArray[Any]) -> bytes:
    """Serializes arrays as a compressed .npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns)
    return buffer.getvalue()


def from_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """Deserializes the output of `to_npz`.

    Raises:
        ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error: if the content is invalid.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        return dict(columns)
