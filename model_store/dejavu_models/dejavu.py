"""Dejavu: what happened after the past patterns nearest to this one.

A kernel regression on nearest neighbours (Nadaraya 1964; Watson 1964) with the distance to the K-th neighbour as its
bandwidth, so that it adapts to how common a pattern is. Neighbours come from a navigable small-world graph (Malkov &
Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2018; hnswlib). An entry of the
database is one past game, or a prototype that stands for several.
"""

from __future__ import annotations

import enum
import io
import os
import struct
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray

from dejavu_models import features
from dejavu_models.arrays import Floats, Integers, Singles

LINKS = 16
CONSTRUCTION_BREADTH = 200


class Kernel(enum.Enum):
    """How a neighbour's weight falls with distance: from 1 to 0 at the K-th neighbour, or, if uniform, not at all."""

    UNIFORM = "uniform"
    EPANECHNIKOV = "epanechnikov"
    TRICUBE = "tricube"

    def weights(self, distances: Floats) -> Floats:
        """Weights of neighbours, nearest first: (n, k) → (n, k), each row with a positive sum."""
        if self is Kernel.UNIFORM:
            return np.ones_like(distances)
        bandwidth = distances[:, -1:]
        # Where all neighbours are as far as the last, a kernel that ends there would weigh nothing: they count alike.
        tied = distances[:, :1] == bandwidth
        relative = distances / np.where(tied, 1.0, bandwidth)
        weights = 1 - relative**2 if self is Kernel.EPANECHNIKOV else (1 - relative**3) ** 3
        return np.where(tied, 1.0, weights)


@dataclass(frozen=True, slots=True)
class Entries:
    """What is known of each entry of the database, in columns of one length m, in the index's order.

    Attributes:
        home, away: NBA codes of the teams (of a prototype: of the game nearest to its mean).
        date: local date of that game, datetime64[D].
        games: how many games the entry stands for, int32, at least 1.
        increment: the mean increment that followed, in points.
        spread: the standard deviation of the increments that followed, in points; 0 for one game.

    Raises:
        ValueError: if the columns do not fit together.
    """

    home: NDArray[np.str_]
    away: NDArray[np.str_]
    date: NDArray[np.datetime64]
    games: NDArray[np.int32]
    increment: Floats
    spread: Floats

    def __post_init__(self) -> None:
        kinds = {"home": "U", "away": "U", "date": "M", "games": "i", "increment": "f", "spread": "f"}
        for name, kind in kinds.items():
            column = getattr(self, name)
            if column.dtype.kind != kind or column.shape != (len(self.games),):
                raise ValueError(f"entries: column {name} is {column.dtype} of shape {column.shape}")
        if not len(self.games) or (self.games < 1).any():
            raise ValueError("entries: every entry must stand for at least one game, and there must be one")
        if not (np.isfinite(self.increment).all() and np.isfinite(self.spread).all()):
            raise ValueError("entries: increments and spreads must be finite")

    def __len__(self) -> int:
        return len(self.games)

    def to_bytes(self) -> bytes:
        """As a .npz file; the same entries give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)}
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Entries:
        """Back from `to_bytes`.

        Raises:
            ValueError, KeyError, OSError, zipfile.BadZipFile: if it is not what `to_bytes` writes.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            return cls(**{field.name: columns[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class DejavuSettings:
    """What the trainer chose.

    Attributes:
        recency: minutes by which a slot's weight in the distance falls by a factor e.
        neighbours: K, in entries.
        kernel: how their weights fall with distance.
    """

    recency: float
    neighbours: int
    kernel: Kernel

    @property
    def search_breadth(self) -> int:
        """Candidates held while searching (ef). A quarter more than K keeps the recall above 0.99, and twice K would
        take half as long again; a test measures the recall.
        """
        return max(5 * self.neighbours // 4, 64)


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """The neighbours of n patterns, nearest first, and what they forecast.

    Attributes:
        entries: (n, K), positions in the database.
        distances: (n, K), in points.
        increments: (n,), in points.
    """

    entries: Integers
    distances: Floats
    increments: Floats


def kernel_regression(entries: Entries, neighbours: Integers, distances: Floats, kernel: Kernel) -> Floats:
    """Means of the increments that followed, weighted by the kernel and by how many games an entry stands for.

    Args:
        entries: the database.
        neighbours: (n, k), positions in it, nearest first.
        distances: (n, k), in points.
        kernel: how weights fall with distance.

    Returns:
        (n,), in points.
    """
    weights = kernel.weights(distances)
    weights *= entries.games[neighbours]
    increments: Floats = (weights * entries.increment[neighbours]).sum(axis=1) / weights.sum(axis=1)
    return increments


class Dejavu:
    """Forecasts increments from the entries nearest to a pattern; safe to call from several threads.

    Args:
        index: over the entries' course vectors, with their positions as labels.

    Raises:
        ValueError: if there are fewer entries than neighbours are asked for.
    """

    def __init__(self, index: Any, entries: Entries, settings: DejavuSettings) -> None:
        if not 1 <= settings.neighbours <= len(entries) == index.element_count:
            raise ValueError(
                f"{settings.neighbours} neighbours of {len(entries)} entries, {index.element_count} indexed"
            )
        index.set_ef(settings.search_breadth)
        self._index = index
        self.entries = entries
        self.settings = settings

    def look_up(self, patterns: Floats) -> Neighbourhoods:
        """The neighbours of patterns and what they forecast; a row's result does not depend on its companions.

        Args:
            patterns: (n, minutes), finite (hnswlib does not check), in points.
        """
        vectors = features.course_vectors(patterns, self.settings.recency)
        labels, squares = self._index.knn_query(vectors, k=self.settings.neighbours, num_threads=1)
        entries = labels.astype(np.int64)
        distances = np.sqrt(squares, dtype=np.float64)
        increments = kernel_regression(self.entries, entries, distances, self.settings.kernel)
        return Neighbourhoods(entries, distances, increments)

    def index_bytes(self) -> bytes:
        """The index as a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return path.read_bytes()


def build_index(vectors: Singles, seed: int) -> Any:
    """Indexes course vectors, labelled by their positions; the same vectors and seed give the same index.

    Args:
        vectors: (m, minutes).
        seed: of the graph's levels.

    Returns:
        An hnswlib index.
    """
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # Several threads would link the same points in another order each time.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def load_index(content: bytes, minutes: int, entries: int) -> Any:
    """An index from the bytes of its file, whose hash was verified: hnswlib trusts what it reads.

    Raises:
        ValueError: if its dimension or size is not what is expected. hnswlib would take the file's word for neither.
    """
    header = struct.Struct("=6Q")
    if len(content) < header.size:
        raise ValueError("the index is too short to be one")
    _, _, count, _, label_offset, data_offset = header.unpack_from(content)
    if (found := (label_offset - data_offset) // 4) != minutes or count != entries:
        raise ValueError(f"the index holds {count} vectors of {found}, not {entries} of {minutes}")
    index = hnswlib.Index(space="l2", dim=minutes)
    # hnswlib reads files only. It gets one of its own, as whatever now lies where the bytes came from was not verified,
    # and one in memory: a worker has to start on a full disk too.
    with os.fdopen(os.memfd_create("dejavu-index"), "wb") as file:
        file.write(content)
        file.flush()
        index.load_index(f"/proc/self/fd/{file.fileno()}")
    return index
