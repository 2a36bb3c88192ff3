"""Builds search graphs with hnswlib, which bundles store as arrays."""

from __future__ import annotations

import hnswlib
import numpy as np

from dejavu_models.arrays import Singles
from dejavu_models.components.graph import Graph
from dejavu_models.errors import FitError

LINKS = 12
"""Links of a vector (M): the recall of the groups of a forecast is above 0.99 (a test measures it)."""

CONSTRUCTION_BREADTH = 200

_LANES = 16
"""Number of dimensions that hnswlib compares at a time; vectors are padded with zeros to a multiple of it."""


def build_graph(vectors: Singles, seed: int) -> Graph:
    """Build the graph of vectors, (m, dimensions); the same arguments give the same graph.

    Raises:
        FitError: if a search does not reach every vector.
    """
    padded = np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % _LANES)))
    index = hnswlib.Index(space="l2", dim=padded.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # With several threads, the order of links would not be deterministic.
    index.add_items(padded, np.arange(len(vectors)), num_threads=1)
    [state] = index.__getstate__()
    # A list is its length and room for the most links, in 32 bits each; those at level 0 are followed by the vector.
    level_0 = state["data_level0"].reshape(len(vectors), -1)[:, : 4 * (1 + state["max_M0"])]
    upper = state["link_lists"].view(np.uint32).reshape(-1, 1 + state["max_M"])
    rows = (*np.ascontiguousarray(level_0).view(np.uint32), *upper)
    # Ascending: a search does not depend on the order of links, and they compress better.
    lists = [np.sort(row[1 : 1 + row[0]]) for row in rows]
    number_type = np.uint16 if len(vectors) <= 2**16 else np.uint32
    graph = Graph(
        vectors=vectors,
        entry=np.array([state["enterpoint_node"]], dtype=number_type),
        levels=state["element_levels"].astype(np.uint8),
        counts=np.array([len(each) for each in lists], dtype=np.uint16),
        links=np.concatenate(lists).astype(number_type),
    )
    if not graph.is_connected():
        raise FitError("the index of similar games has parts that a search does not reach; another --seed may do")
    return graph
