"""Measures the search for similar games of a bundle: its recall, and what a forecast costs beside another bundle's.

    python -m bench.similar_games --bundle DIR                     # simulated games ask
    python -m bench.similar_games --bundle DIR --data DIR          # real games, of seasons that it was not made from
    python -m bench.similar_games --bundle DIR --against OTHER     # and costs beside another bundle's

Recall is the share of the results of each minute's index, as a server loads it, that are as near as the K-th nearest by
brute force. Costs are CPU time of the thread: of the search alone, and of a whole forecast that nobody asked to
explain. The two bundles alternate within every round, so a busy machine slows both of them equally: compare the ratios,
which are medians over rounds, not the microseconds. Exits with 1 if a recall is below 0.99, or a forecast costs more
than 1.05 times the other bundle's on the mean over minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.forecaster import BATCH, MINUTES, one_by_one, query
from bench.index import LEAST_RECALL, cpu_us, recall, recorded, simulated
from numpy.typing import NDArray

from dejavu_models.arrays import Singles
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import index_name
from dejavu_models.point import features
from dejavu_models.point.graph import Graph, vectors_of
from dejavu_models.point.index import read_index
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon

MOST_RATIO = 1.05
"""Greatest cost of a forecast, in those of one with the other bundle."""


def indexed_vectors(bundle: Path, minute: int, count: int) -> Singles | None:
    """Returns the vectors of a minute's index, (count, minute); None if only hnswlib can read them."""
    content = (bundle / index_name(minute)).read_bytes()
    index = read_index(content, minute, count)
    if isinstance(index, Graph):
        return vectors_of(index.tenths, index.weights)
    if content.startswith(b"\x93NUMPY"):
        vectors: Singles = np.load(io.BytesIO(content), allow_pickle=False)
        return vectors
    return None


def recalls(bundle: Path, forecaster: Forecaster, games: NDArray[np.int16]) -> list[dict[str, Any]]:
    """Measures the recall of every minute.

    Args:
        bundle: folder of the forecaster's bundle.
        forecaster: the forecaster.
        games: (n, 48), differentials of the games that ask, in points.
    """
    rows = []
    for minute, dejavu in forecaster.models.minutes.items():
        vectors = indexed_vectors(bundle, minute, len(dejavu.entries))
        if vectors is None:
            continue
        asked = features.pattern_vectors(games[:, :minute].astype(np.float64), dejavu.settings.recency)
        found, _ = dejavu.index.nearest(asked, dejavu.settings.neighbours)
        rows.append(
            {
                "minute": minute,
                "entries": len(dejavu.entries),
                "index": type(dejavu.index).__name__,
                "neighbours": dejavu.settings.neighbours,
                "recall": recall(vectors, asked, found),
            }
        )
    return rows


def search(forecaster: Forecaster, minute: int) -> Callable[[int], object]:
    """Searches the neighbours of one game."""
    dejavu = forecaster.models.minutes[minute]
    patterns = [
        np.array([query(number, minute, Horizon.FINAL, extras=False).pattern.differentials]) for number in range(BATCH)
    ]
    vectors = [features.pattern_vectors(each.astype(np.float64), dejavu.settings.recency) for each in patterns]
    return lambda number: dejavu.index.nearest(vectors[number % BATCH], dejavu.settings.neighbours)


def what_if(forecaster: Forecaster, minute: int) -> Callable[[int], object]:
    """Forecasts the end of one game."""
    return one_by_one(forecaster, [query(number, minute, Horizon.FINAL, extras=False) for number in range(BATCH)])


def costs(forecasters: Sequence[Forecaster], rounds: int, calls: int) -> list[dict[str, Any]]:
    """Measures CPU time per search and per forecast with both bundles, alternating."""
    rows = []
    for name, case in (("search", search), ("forecast", what_if)):
        for minute in MINUTES:
            pair = [case(forecaster, minute) for forecaster in forecasters]
            times: list[list[float]] = [[], []]
            for number in range(rounds + 1):
                order = (0, 1) if number % 2 else (1, 0)
                for which in order:

                    def run(call: Callable[[int], object] = pair[which]) -> None:
                        for turn in range(calls):
                            call(turn)

                    times[which].append(cpu_us(run, calls))
            one, other = (each[1:] for each in times)  # the first round warms up
            ratio = statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))
            medians = statistics.median(one), statistics.median(other)
            rows.append({"case": name, "minute": minute, "us": medians[0], "other_us": medians[1], "ratio": ratio})
    return rows


def breaches(found: Sequence[dict[str, Any]], compared: Sequence[dict[str, Any]]) -> list[str]:
    """Describes the failed checks; empty if all pass."""
    failed = [
        f"minute {row['minute']}: recall {row['recall']:.4f} is less than {LEAST_RECALL}"
        for row in found
        if row["recall"] < LEAST_RECALL
    ]
    ratios = [row["ratio"] for row in compared if row["case"] == "forecast"]
    if ratios and statistics.fmean(ratios) > MOST_RATIO:
        failed.append(
            f"a forecast costs {statistics.fmean(ratios):.2f} times the other bundle's, more than {MOST_RATIO}"
        )
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="the bundle; default: the one that ships")
    parser.add_argument("--against", type=Path, help="another bundle, to compare the costs with")
    parser.add_argument("--data", type=Path, help="folder of real games, instead of simulated ones")
    parser.add_argument("--queries", type=int, default=1000, help="games that ask")
    parser.add_argument("--rounds", type=int, default=40, help="measured rounds, after one warm-up round")
    parser.add_argument("--calls", type=int, default=50, help="calls per round of each case and bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    forecaster = load_bundle(options.bundle, allow_unfit=True)
    try:
        games = recorded(options.data, 0) if options.data else simulated(options.queries, 1)
    except ValueError as error:
        parser.error(str(error))
    found = recalls(options.bundle, forecaster, games[: options.queries])
    other = load_bundle(options.against, allow_unfit=True) if options.against else None
    compared = costs([forecaster, other], options.rounds, options.calls) if other else []
    failed = breaches(found, compared)
    if options.json:
        print(json.dumps({"recall": found, "costs": compared, "breaches": failed}))
        return int(bool(failed))
    for row in found:
        print(f"minute {row['minute']:2}  {row['entries']:6} entries  {row['index']:16} K = {row['neighbours']:3}  "
              f"recall {row['recall']:.4f}")  # fmt: skip
    for row in compared:
        print(f"{row['case']:8} minute {row['minute']:2}  {row['us']:6.1f} µs  other {row['other_us']:6.1f} µs  "
              f"× {row['ratio']:.2f}")  # fmt: skip
    print("\n".join(failed) or "all checks passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
