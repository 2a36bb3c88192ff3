"""Measures cost and recall of queries to the HNSW indexes as the databases grow.

    python -m bench.index                                   # simulated games
    python -m bench.index --data DIR                        # real games: DIR/plays_{season}.parquet, or DIR/nba/…
    python -m bench.index --sizes 10000 400000 --breadth 200 --links 24   # other settings than those that ship

Measures two kinds of index:

- one per minute, as in bundles: of the courses (differentials minute by minute) of all games, and of courses condensed
  into prototypes;
- one of all minutes, with 3,000 to 500,000 windows, to find the limits of the method. A window is the lead in 18
  consecutive minutes, relative to the lead at their start; minutes before tip-off count as 0–0. Each window is taken
  twice: as seen by the home team, and as seen by the away team.

Identical courses or windows are one entry, unless `--every-game` is given. The queries are games that are in no index.
Recall is measured against brute force; every entry as near as the K-th nearest counts as found, since many are equally
near early in a game. The time of a query is the CPU time of its thread. The cases alternate within every round, so a
busy machine slows all of them equally: compare the ratios between runs, not the microseconds. Exits with 1 if any
recall is below 0.99, or if a query among 400,000 entries costs more than 5 times as much as among 10,000 (if both are
measured).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import hnswlib
import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES, slots
from dejavu_feed.replay.simulate import simulate_game
from dejavu_models.arrays import Integers, Singles
from dejavu_models.point import features
from dejavu_models.point.index import search_breadth
from dejavu_models.types import MAX_SLOTS
from dejavu_trainer.data.games import load_games
from dejavu_trainer.training.index import CONSTRUCTION_BREADTH, build_hnsw
from dejavu_trainer.training.kmeans import cluster, group_means

SPAN = 18
"""Minutes of a window."""

SIZES = (3_000, 10_000, 30_000, 100_000, 400_000, 500_000)
MINUTES = (1, 2, 3, 4, 6, 12, 18, 24, 36, 47)
LINKS = 16
"""Links per entry of the all-minutes index, which is up to 45 times as large as the index of one minute in a bundle."""

BATCH = 64
LEAST_RECALL = 0.99
SMALL, LARGE, MOST_RATIO = 10_000, 400_000, 5.0
HOME_EDGE_SPREAD = 6.0
"""Standard deviation of the expected home margin in simulated games, in points."""

_CHUNK = 32
_ROUNDING = 1e-6


class NotReached(Exception):
    """A search reached fewer entries than the requested neighbours."""


class Searched(NamedTuple):
    """An index over vectors (n, dimensions), with its query vectors, (q, dimensions)."""

    kind: str
    index: Any
    vectors: Singles
    asked: Singles
    build_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one index and one K.

    Attributes:
        kind: "all minutes", "minute 18", "minute 18, condensed" ….
        entries: number of entries of the index.
        dimensions: number of dimensions of its vectors.
        neighbours: K; at most `entries`.
        breadth: candidates kept during a search (ef).
        recall: share of the results that are as near as the K-th nearest.
        single_us, batched_us: CPU time per query in each round, in microseconds: one query or BATCH queries per call.
        build_seconds: CPU time of the construction, over all threads.
        bytes_an_entry: bytes per entry in the index file.
    """

    kind: str
    entries: int
    dimensions: int
    neighbours: int
    breadth: int
    recall: float
    single_us: list[float] = field(default_factory=list)
    batched_us: list[float] = field(default_factory=list)
    build_seconds: float = 0.0
    bytes_an_entry: float = 0.0


def simulated(games: int, seed: int) -> NDArray[np.int16]:
    """Return differentials of simulated games, (games, 48), in points."""
    rng = random.Random(seed)
    courses = [
        slots(simulate_game(rng, home_edge=rng.gauss(2.5, HOME_EDGE_SPREAD)), REGULATION_MINUTES) for _ in range(games)
    ]
    return np.array(courses, dtype=np.int16)


def recorded(folder: Path, seed: int) -> NDArray[np.int16]:
    """Load the differentials of all real games in a folder, (n, 48), in points, in random order.

    Raises:
        DataError: if a file is malformed.
        ValueError: if there is no file of plays.
    """
    files = [*folder.glob("plays_[0-9]*.parquet"), *folder.glob("nba/plays_[0-9]*.parquet")]
    if not files:
        raise ValueError(f"--data {folder}: no plays_{{season}}.parquet there or in nba/")
    games = load_games(folder, sorted({int(file.stem.removeprefix("plays_")) for file in files}))
    return np.random.default_rng(seed).permutation(games.differentials)


def windows(differentials: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return each game's course in the 18 minutes up to each of minutes 1 … 47, relative to the window's start.

    Args:
        differentials: (n, 48), in points.

    Returns:
        (n, 47, SPAN), in points: differentials at the end of the window's minutes minus the one at its start.
    """
    tip_off = np.zeros((len(differentials), SPAN), dtype=np.int16)
    courses = np.concatenate([tip_off, differentials[:, :MAX_SLOTS]], axis=1)
    # Row j of the view has minutes j − SPAN + 1 … j + 1; minutes up to tip-off are 0.
    view = np.lib.stride_tricks.sliding_window_view(courses, SPAN + 1, axis=1)
    result: NDArray[np.int16] = view[:, :, 1:] - view[:, :, :1]
    return result


def from_both_benches(courses: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return windows (…, SPAN) from the view of the home team and of the away team: (m, SPAN), in points."""
    flat = courses.reshape(-1, SPAN)
    return np.concatenate([flat, -flat])


def shuffled(courses: NDArray[np.int16], options: argparse.Namespace) -> NDArray[np.int16]:
    """Return courses (n, minutes) in random order, without duplicates unless `every_game` is set."""
    return np.random.default_rng(options.seed).permutation(
        courses if options.every_game else np.unique(courses, axis=0)
    )


def recall(vectors: Singles, asked: Singles, found: Integers) -> float:
    """Return the share of results (q, K) that are as near as the K-th nearest, by brute force.

    Computes |a|² − 2ab + |b|² in double precision. Distances that are equal in single precision, which the index uses,
    count as equal.
    """
    neighbours = found.shape[1]
    all_vectors = vectors.astype(np.float64)
    squares = np.square(all_vectors).sum(axis=1)
    hits = 0
    for start in range(0, len(asked), _CHUNK):
        part = asked[start : start + _CHUNK].astype(np.float64)
        distances = squares - 2 * part @ all_vectors.T + np.square(part).sum(axis=1)[:, None]
        bounds = np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1 : neighbours]
        reached = np.take_along_axis(distances, found[start : start + _CHUNK], axis=1)
        hits += int((reached <= bounds * (1 + _ROUNDING) + _ROUNDING).sum())
    return hits / found.size


def of_all_minutes(
    games: NDArray[np.int16], asking: NDArray[np.int16], options: argparse.Namespace
) -> Iterator[Searched]:
    """Yield one growing index at each of the sizes.

    Raises:
        ValueError: if there are fewer windows than the largest size.
    """
    if not options.sizes:
        return
    patterns = shuffled(from_both_benches(windows(games)), options)
    sizes = sorted(options.sizes)
    if sizes[-1] > len(patterns):
        raise ValueError(f"--sizes: {sizes[-1]} windows requested; {len(games)} games have {len(patterns)}")
    vectors = features.pattern_vectors(patterns[: sizes[-1]].astype(np.float64), options.recency)
    # One query per game, at a minute that rotates, so that all minutes have equally many.
    minutes = np.arange(len(asking)) % MAX_SLOTS
    asked = features.pattern_vectors(
        windows(asking)[np.arange(len(asking)), minutes].astype(np.float64), options.recency
    )
    index = hnswlib.Index(space="l2", dim=SPAN)
    index.init_index(sizes[-1], M=options.links, ef_construction=options.construction_breadth, random_seed=options.seed)
    grown = 0
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            start = time.process_time()
            # Several threads make the build nondeterministic, which does not matter here.
            index.add_items(vectors[grown:size], np.arange(grown, size), num_threads=options.threads)
            seconds += time.process_time() - start
            grown = size
            path = f"{folder}/index"
            index.save_index(path)
            copy = hnswlib.Index(space="l2", dim=SPAN)
            copy.load_index(path, max_elements=size)
            yield Searched("all minutes", copy, vectors[:size], asked, seconds)


def of_each_minute(
    games: NDArray[np.int16], asking: NDArray[np.int16], options: argparse.Namespace
) -> Iterator[Searched]:
    """Yield the indexes of single minutes, built like those of a bundle: of all courses, and condensed.

    Identical courses are one entry there too: a graph with many equal points is not connected.
    """
    for minute in options.minutes:
        courses = shuffled(games[:, :minute], options)
        vectors = features.pattern_vectors(courses.astype(np.float64), options.recency)
        asked = features.pattern_vectors(asking[:, :minute].astype(np.float64), options.recency)
        kinds = {f"minute {minute}": vectors}
        if options.prototypes < len(vectors):
            groups = cluster(vectors, options.prototypes, options.seed)
            kinds[f"minute {minute}, condensed"] = group_means(vectors.astype(np.float64), groups).astype(np.float32)
        for kind, entries in kinds.items():
            start = time.process_time()
            index = build_hnsw(entries, options.seed)
            yield Searched(kind, index, entries, asked, time.process_time() - start)


def cpu_us(call: Callable[[], object], queries: int) -> float:
    """Return this thread's CPU time per query of a call, in microseconds."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e3 / queries


def measure(searched: Sequence[Searched], options: argparse.Namespace) -> list[Measured]:
    """Measure all indexes for each K.

    Raises:
        NotReached: if an index cannot be measured.
    """
    rows = list[tuple[Searched, Measured]]()
    for each in searched:
        for k in sorted({min(neighbours, len(each.vectors)) for neighbours in options.neighbours}, reverse=True):
            breadth = options.breadth or search_breadth(k)
            each.index.set_ef(breadth)
            try:
                labels, _ = each.index.knn_query(each.asked, k=k, num_threads=1)
            except RuntimeError:  # in a disconnected graph, a search may reach fewer than K entries
                raise NotReached(f"{each.kind}, {len(each.vectors)} entries: fewer than {k} were reached") from None
            figures = Measured(
                kind=each.kind,
                entries=len(each.vectors),
                dimensions=each.vectors.shape[1],
                neighbours=k,
                breadth=breadth,
                recall=recall(each.vectors, each.asked, labels.astype(np.int64)),
                build_seconds=each.build_seconds,
                bytes_an_entry=each.index.index_file_size() / len(each.vectors),
            )
            rows.append((each, figures))
    for number in range(options.rounds):
        for each, figures in rows:
            each.index.set_ef(figures.breadth)
            few = np.roll(each.asked, -number * BATCH, axis=0)[:BATCH]

            def alone(each: Searched = each, k: int = figures.neighbours, few: Singles = few) -> None:
                for row in range(len(few)):
                    each.index.knn_query(few[row : row + 1], k=k, num_threads=1)

            def together(each: Searched = each, k: int = figures.neighbours, few: Singles = few) -> None:
                each.index.knn_query(few, k=k, num_threads=1)

            # Alternate the order, since the second call profits from the caches of the first.
            measured = [(alone, figures.single_us), (together, figures.batched_us)]
            for call, times in measured if number % 2 else reversed(measured):
                times.append(cpu_us(call, len(few)))
    return [figures for _, figures in rows]


def ratio(row: Measured, base: Measured, figure: str) -> float:
    """Return the ratio of two rows' times, as the median over rounds."""
    pairs: Iterable[tuple[float, float]] = zip(getattr(row, figure), getattr(base, figure), strict=True)
    return statistics.median(one / other for one, other in pairs)


def base_of(row: Measured, rows: Sequence[Measured]) -> Measured | None:
    """Return the row of SMALL windows with which to compare a row of the all-minutes index, if there is one."""
    candidates = (each for each in rows if (each.kind, each.neighbours) == (row.kind, row.neighbours))
    return next((each for each in candidates if each.entries == SMALL), None)


def breaches(rows: Sequence[Measured]) -> list[str]:
    """Describe the failed checks; empty if all pass."""
    failed = list[str]()
    for row in rows:
        name = f"{row.kind}, {row.entries} entries, K = {row.neighbours}"
        if row.recall < LEAST_RECALL:
            failed.append(f"{name}: recall {row.recall:.4f} is less than {LEAST_RECALL}")
        base = base_of(row, rows)
        if row.entries != LARGE or base is None:
            continue
        for figure in ("single_us", "batched_us"):
            if (times := ratio(row, base, figure)) > MOST_RATIO:
                failed.append(f"{name}: {figure} is {times:.2f} times that of {SMALL}, more than {MOST_RATIO:g}")
    return failed


def show(rows: Sequence[Measured]) -> None:
    """Print the table; ratios are relative to the index of SMALL windows, as medians over rounds."""
    print(f"{'':24} {'entries':>7} {'K':>3} {'ef':>4} {'recall':>7} {'single, µs':>16} {'batched, µs':>16} "
          f"{'build, CPU s':>12} {'bytes/entry':>14}")  # fmt: skip
    for row in rows:
        cells = []
        for figure in ("single_us", "batched_us"):
            base = base_of(row, rows)
            beside = f" × {ratio(row, base, figure):.2f}" if base else ""
            cells.append(f"{statistics.median(getattr(row, figure)):.0f}{beside}")
        print(
            f"{row.kind:24} {row.entries:7} {row.neighbours:3} {row.breadth:4} {row.recall:7.4f} {cells[0]:>16} "
            f"{cells[1]:>16} {row.build_seconds:12.1f} {row.bytes_an_entry:14.0f}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of real games, instead of simulated ones")
    parser.add_argument("--games", type=int, default=11_500, help="number of games to simulate")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="sizes of the all-minutes index")
    parser.add_argument("--minutes", type=int, nargs="*", default=list(MINUTES), help="minutes with their own index")
    parser.add_argument("--prototypes", type=int, default=3000, help="prototypes of a condensed minute")
    parser.add_argument("--every-game", action="store_true", help="keep identical courses as separate entries")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[100, 50], help="numbers of neighbours (K)")
    parser.add_argument("--recency", type=float, default=6.0, help="recency of the distance, in minutes")
    parser.add_argument(
        "--breadth", type=int, help="candidates kept during a search (ef), instead of the shipped setting"
    )
    parser.add_argument("--links", type=int, default=LINKS, help="links per entry (M) in the all-minutes index")
    parser.add_argument(
        "--construction-breadth",
        type=int,
        default=CONSTRUCTION_BREADTH,
        help="ef_construction of the all-minutes index",
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads that build the all-minutes index"
    )
    parser.add_argument("--queries", type=int, default=500, help="games used as queries, in no index")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args(arguments)
    if wrong := [minute for minute in options.minutes if not 1 <= minute <= MAX_SLOTS]:
        parser.error(f"--minutes: {wrong} are not in 1 … {MAX_SLOTS}")

    try:
        games = recorded(options.data, options.seed) if options.data else simulated(options.games, options.seed)
        if not 1 <= options.queries < len(games):
            raise ValueError(
                f"--queries: {options.queries} is not in 1 … {len(games) - 1}, one less than the number of games"
            )
        parts = games[: -options.queries], games[-options.queries :], options
        rows = measure([*of_all_minutes(*parts), *of_each_minute(*parts)], options)
    except ValueError as error:
        parser.error(str(error))
    except NotReached as error:
        print(error, file=sys.stderr)
        return 1
    failed_checks = breaches(rows)
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "breaches": failed_checks}))
    else:
        show(rows)
        print("\n".join(failed_checks) or "all checks passed")
    return int(bool(failed_checks))


if __name__ == "__main__":
    sys.exit(main())
