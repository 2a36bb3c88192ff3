"""Graphs that hnswlib built and the compiled models search; the recall is measured in test_dejavu.py."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dejavu_models.arrays import Singles
from dejavu_models.components.graph import Graph, search
from dejavu_models.components.hnsw import build_graph
from dejavu_models.errors import FitError

COUNT, DIMENSIONS = 2000, 9


def points(count: int, seed: int) -> Singles:
    return np.random.default_rng(seed).normal(0, 6, (count, DIMENSIONS)).astype(np.float32)


@cache
def graph() -> Graph:
    return build_graph(points(COUNT, 1), 0)


@pytest.mark.parametrize("far", [0.0, 60.0, 1e5])
def test_every_search_finds_as_many_as_requested(far: float) -> None:
    """Also for a vector unlike any other, and if all are requested."""
    found, _ = search(graph(), COUNT).nearest(points(1, 5) + np.float32(far), COUNT)
    assert sorted(found[0].tolist()) == list(range(COUNT))


def test_equal_vectors_that_fall_apart_are_a_failed_fit() -> None:
    with pytest.raises(FitError, match="parts that a search does not reach"):
        build_graph(np.repeat(points(2, 0), 600, axis=0), 0)


def of_equal_lists(levels: np.ndarray, length: int) -> dict[str, object]:
    """The arrays of a graph of these levels in which each list links the first vector, `length` times."""
    lists = len(levels) + int(levels.sum())
    counts = np.full(lists, length, dtype=np.uint16)
    return {"levels": levels, "counts": counts, "links": np.zeros(lists * length, dtype=np.uint16)}


def broken() -> dict[str, dict[str, object]]:
    """Arrays that do not fit the others of a graph, by the error message."""
    far, links, levels = graph().links.copy(), graph().links.copy(), graph().levels
    far[3] = COUNT
    low = np.flatnonzero(levels == 0)[0]
    links[-1] = int(low)
    return {
        "a list has more than 64 links": of_equal_lists(np.zeros_like(levels), 65),
        "above level 0 there are more than 4000": of_equal_lists(np.ones_like(levels), 3),
        "above level 0 there are more than 4000 lists": of_equal_lists(np.full_like(levels, 3), 1),
        "a link leads past": {"links": far},
        "not at its level": {"links": links},
        "the entry point is not": {"entry": np.array([low], dtype=np.uint16)},
        "do not fit together": {"counts": graph().counts[:-1]},
        "vectors is float32": {"vectors": graph().vectors[:-1]},
        "vectors is float64": {"vectors": graph().vectors.astype(float)},
        "vectors must be within": {"vectors": np.full_like(graph().vectors, np.nan)},
        "vectors must be within ±1e": {"vectors": graph().vectors * np.float32(1e30)},
        "levels is": {"levels": levels.astype(np.int8)},
    }


@pytest.mark.parametrize("said", broken())
def test_arrays_are_checked(said: str) -> None:
    """Otherwise a search would read anywhere in memory, or take seconds for some games."""
    with pytest.raises(ValueError, match=said):
        replace(graph(), **broken()[said])  # type: ignore[arg-type]
