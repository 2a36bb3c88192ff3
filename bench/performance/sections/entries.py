"""Cost of a search by the number of entries of the Dejavu database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import hnswlib
import numpy as np
from bench.performance.measuring import Section, Setting
from bench.performance.samples import Run
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES, slots
from dejavu_feed.replay.simulate import simulate_game
from dejavu_models.arrays import Singles
from dejavu_models.components import features
from dejavu_models.components.index import search_breadth
from dejavu_models.types import MAX_SLOTS
from dejavu_trainer.training.index import CONSTRUCTION_BREADTH

CASE = "search for 50 neighbors"
NEIGHBORS = 50
SIZES = (3000, 10_000, 30_000)
QUERIES, BATCH = 200, 64
SPAN = 18
"""Minutes of an entry: the lead in 18 consecutive minutes, relative to the lead at their start."""
LINKS, RECENCY = 12, 6.0
"""Links per entry, as in bundles, and recency of the distance, in minutes."""
HOME_EDGE_SPREAD = 6.0
"""Standard deviation of the expected home margin in simulated games, in points."""


def windows(games: int) -> NDArray[np.int16]:
    """Return the windows of simulated games at each minute, (games, MAX_SLOTS, SPAN), in points; before tip-off 0."""
    rng = random.Random(0)
    edges = (rng.gauss(2.5, HOME_EDGE_SPREAD) for _ in range(games))
    played = np.array(
        [slots(simulate_game(rng, home_edge=edge), REGULATION_MINUTES)[:MAX_SLOTS] for edge in edges], np.int16
    )
    courses = np.concatenate([np.zeros((games, SPAN), np.int16), played], axis=1)
    view = np.lib.stride_tricks.sliding_window_view(courses, SPAN + 1, axis=1)
    result: NDArray[np.int16] = view[:, :, 1:] - view[:, :, :1]
    return result


def cpu_us(call: Callable[[], object], queries: int) -> float:
    """Return this thread's CPU time per query of a call, in microseconds."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e3 / queries


def search_us(index: Any, asked: Singles) -> dict[str, float]:
    """Measure searches for queries, (n, SPAN): one by one, and all in one call."""

    def alone() -> None:
        for row in range(len(asked)):
            index.knn_query(asked[row : row + 1], k=NEIGHBORS, num_threads=1)

    def together() -> None:
        index.knn_query(asked, k=NEIGHBORS, num_threads=1)

    return {"single_us": cpu_us(alone, len(asked)), "batched_us": cpu_us(together, len(asked))}


def measure(setting: Setting, run: Run) -> None:
    """Build a growing index of windows, as seen by both teams, and measure searches in rounds; the first warms up."""
    sizes = setting.sizes(SIZES, (300, 1000))
    every = windows(QUERIES + max(sizes) // 40)
    # One query per game, at a minute that rotates, so that all minutes have equally many.
    queries = every[np.arange(QUERIES), np.arange(QUERIES) % MAX_SLOTS]
    flat = every[QUERIES:].reshape(-1, SPAN)
    # Identical windows are one entry: a graph with many equal points is not connected.
    entries = np.random.default_rng(0).permutation(np.unique(np.concatenate([flat, -flat]), axis=0))
    vectors, asked = (features.pattern_vectors(each.astype(np.float64), RECENCY) for each in (entries, queries))
    indexes = {}
    for size in sizes:
        index = hnswlib.Index(space="l2", dim=SPAN)
        index.init_index(size, M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=0)
        index.add_items(vectors[:size], num_threads=1)
        index.set_ef(search_breadth(NEIGHBORS))
        indexes[size] = index
    for number in range(-1, setting.rounds):
        for size, index in indexes.items():
            figures = search_us(index, np.roll(asked, -number * BATCH, axis=0)[:BATCH])
            if number >= 0:
                run.add(ENTRIES.name, CASE, f"{size:,} entries", number, figures)


ENTRIES = Section(
    name="entries",
    title="Entries of the Dejavu database",
    text=(
        "CPU of a search in an HNSW index of simulated games, single and in a call of 64; a forecast makes one search."
        " The bundle that ships has at most 3,000 entries a minute. [Similar"
        " games](decisions/0055-similar-games.md#cost-of-the-index) has real games, up to 500,000 entries."
    ),
    columns={"single_us": "µs, alone", "batched_us": "µs, in a call of 64"},
    measure=measure,
    base=f"{SIZES[0]:,} entries",
    plot="growth",
)
