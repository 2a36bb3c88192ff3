"""Graphs that hnswlib built and the compiled models search.

Recall is the share of results that are as near as the K-th nearest by brute force.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import hnswlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.arrays import Floats, Singles, to_tenths
from dejavu_models.components.features import anchored, pattern_vectors, recency_weights
from dejavu_models.components.graph import Graph, vectors_of
from dejavu_models.components.index import VectorIndex, read_index, search_breadth
from dejavu_trainer.training.index import build_hnsw, build_index

RECENCY, NEIGHBOURS = 6.0, 50
ENTRIES = {5: 1100, 18: 2000, 47: 1500}
"""Vectors of each minute."""


def walks(count: int, minutes: int, seed: int) -> Floats:
    """Differentials of random games, (count, minutes), all different."""
    courses = np.random.default_rng(seed).normal(0, 2.5, (2 * count, minutes)).cumsum(axis=1).round()
    return np.random.default_rng(seed).permutation(np.unique(courses, axis=0))[:count]


def built(minute: int, count: int) -> VectorIndex:
    tenths = to_tenths(anchored(walks(count, minute, minute)))
    return build_index(tenths, recency_weights(minute, RECENCY), NEIGHBOURS, 0)


@cache
def indexes() -> dict[int, VectorIndex]:
    return {minute: built(minute, count) for minute, count in ENTRIES.items()}


@cache
def graphs() -> dict[int, Graph]:
    return {minute: Graph.from_bytes(index.content) for minute, index in indexes().items()}


@cache
def vectors(minute: int) -> Singles:
    return vectors_of(graphs()[minute].tenths, graphs()[minute].weights)


def recall(minute: int, asked: Singles, found: np.ndarray) -> float:
    squares = np.square(vectors(minute)[None].astype(float) - asked[:, None]).sum(axis=2)
    bounds = np.partition(squares, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1 : NEIGHBOURS]
    return float((np.take_along_axis(squares, found, axis=1) <= bounds * (1 + 1e-5) + 1e-5).mean())


def hnswlib_index(minute: int) -> hnswlib.Index:
    """The index from which a minute's graph was read."""
    result = build_hnsw(np.pad(vectors(minute), ((0, 0), (0, -minute % 16))), 0)
    result.set_ef(search_breadth(NEIGHBOURS))
    return result


@pytest.mark.parametrize("minute", ENTRIES)
def test_a_search_finds_what_hnswlib_finds(minute: int) -> None:
    asked = pattern_vectors(walks(200, minute, 1000), RECENCY)
    found, squares = indexes()[minute].nearest(asked, NEIGHBOURS)
    theirs, _ = hnswlib_index(minute).knn_query(np.pad(asked, ((0, 0), (0, -minute % 16))), k=NEIGHBOURS)
    last = squares == squares[:, -1:]  # of equally near games another may have the last place
    assert (found == theirs.astype(np.int64))[~last].mean() > 0.999  # equally near games, in another order
    exact = np.square(vectors(minute)[found] - asked[:, None]).sum(axis=2)
    assert squares == pytest.approx(exact, rel=1e-4, abs=1e-4)
    assert recall(minute, asked, found) >= 0.99


@given(
    minute=st.sampled_from(sorted(ENTRIES)),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.0, 0.5, 2.5, 10.0, 60.0]),
)
def test_of_any_games_nearly_all_of_the_nearest_are_found(minute: int, seed: int, spread: float) -> None:
    """Includes games without a change and games unlike any other: every search returns enough results."""
    courses = np.random.default_rng(seed).normal(0, spread, (40, minute)).cumsum(axis=1).round()
    asked = pattern_vectors(courses, RECENCY)
    found, squares = indexes()[minute].nearest(asked, NEIGHBOURS)
    assert all(len(set(row)) == NEIGHBOURS for row in found.tolist())
    assert (np.diff(squares, axis=1) >= 0).all()
    assert recall(minute, asked, found) >= 0.97, "of 40 games; of 200, at least 0.99"


def test_a_graph_comes_back_from_its_bytes() -> None:
    for graph in graphs().values():
        assert Graph.from_bytes(graph.to_bytes()).to_bytes() == graph.to_bytes()
        assert graph.is_connected()
        assert len(graph.to_bytes()) < 5 * graph.tenths.nbytes


def test_a_graph_that_falls_apart_is_not_searched() -> None:
    graph = graphs()[5]
    counts = graph.counts.copy()
    counts[7] = 0
    start = int(graph.counts[:7].sum())
    links = np.delete(graph.links, np.arange(start, start + int(graph.counts[7])))
    apart = replace(graph, counts=counts, links=links)
    assert not apart.is_connected()
    with pytest.raises(ValueError, match="parts that a search does not reach"):
        read_index(apart.to_bytes(), 5, len(graph), NEIGHBOURS)
    twins = np.repeat(to_tenths(walks(2, 18, 0)), 600, axis=0)
    index = build_index(twins, recency_weights(18, RECENCY), NEIGHBOURS, 0)
    found, _ = index.nearest(vectors_of(twins[:1], recency_weights(18, RECENCY)), 1200)
    assert sorted(found[0].tolist()) == list(range(1200))


def of_equal_lists(graph: Graph, levels: np.ndarray, length: int) -> dict[str, object]:
    """The arrays of a graph of these levels in which each list links the first vector, `length` times."""
    lists = len(levels) + int(levels.sum())
    counts = np.full(lists, length, dtype=np.uint16)
    return {"levels": levels, "counts": counts, "links": np.zeros(lists * length, dtype=graph.links.dtype)}


def broken(graph: Graph) -> dict[str, dict[str, object]]:
    """Arrays that do not fit the others of a graph, by the error message."""
    far, links = graph.links.copy(), graph.links.copy()
    far[3] = len(graph)
    low = np.flatnonzero(graph.levels == 0)[0]
    links[-1] = int(low)
    top = np.full(len(graph), 3, dtype=np.uint8)
    return {
        "a list has more than 64 links": of_equal_lists(graph, np.zeros_like(graph.levels), 65),
        "above level 0 there are more than 4000": of_equal_lists(graph, np.ones_like(graph.levels), 3),
        "above level 0 there are more than 4000 lists": of_equal_lists(graph, top, 1),
        "a link leads past": {"links": far},
        "not at its level": {"links": links},
        "the entry point is not": {"entry": np.array([low], dtype=graph.entry.dtype)},
        "do not fit together": {"counts": graph.counts[:-1]},
        "tenths are": {"tenths": graph.tenths[:-1]},
        "weights are": {"weights": graph.weights[:-1]},
        "weights must be within": {"weights": np.full_like(graph.weights, np.nan)},
        "weights must be within ±2": {"weights": graph.weights * 1e30},
        "levels are": {"levels": graph.levels.astype(np.int8)},
    }


def test_arrays_are_checked() -> None:
    """Otherwise a search would read anywhere in memory, or take seconds for some games."""
    graph = graphs()[18]
    for said, arrays in broken(graph).items():
        with pytest.raises(ValueError, match=said):
            replace(graph, **arrays)  # type: ignore[arg-type]
