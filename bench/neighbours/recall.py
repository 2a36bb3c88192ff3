"""Measures the recall of a bundle's indexes, as a server loads them.

    python -m bench.neighbours.recall --bundle DIR                # queries from simulated games
    python -m bench.neighbours.recall --bundle DIR --data DIR     # from real games

Recall is the share of the results of a minute's index that are as near as the K-th nearest by brute force. Exits with 1
if the recall of a minute is below 0.99.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench.index import LEAST_RECALL, recall, recorded, simulated
from numpy.typing import NDArray

from dejavu_models.arrays import Singles
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import index_name
from dejavu_models.point import features
from dejavu_models.point.graph import Graph, vectors_of
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle


def indexed_vectors(bundle: Path, minute: int) -> Singles:
    """Return the vectors of a minute's index, (count, minute)."""
    content = (bundle / index_name(minute)).read_bytes()
    if content.startswith(b"\x93NUMPY"):
        vectors: Singles = np.load(io.BytesIO(content), allow_pickle=False)
        return vectors
    graph = Graph.from_bytes(content)
    return vectors_of(graph.tenths, graph.weights)


def recalls(bundle: Path, forecaster: Forecaster, games: NDArray[np.int16]) -> list[dict[str, Any]]:
    """Measure the recall of every minute.

    Args:
        bundle: folder of the forecaster's bundle.
        forecaster: the forecaster.
        games: (n, 48), differentials of the games used as queries, in points.
    """
    rows = []
    for minute, dejavu in forecaster.models.minutes.items():
        vectors = indexed_vectors(bundle, minute)
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


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="the bundle; default: the one that ships")
    parser.add_argument("--data", type=Path, help="folder of real games, instead of simulated ones")
    parser.add_argument("--queries", type=int, default=1000, help="games used as queries")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        games = recorded(options.data, 0) if options.data else simulated(options.queries, 1)
    except ValueError as error:
        parser.error(str(error))
    rows = recalls(options.bundle, load_bundle(options.bundle, allow_unfit=True), games[: options.queries])
    low = [row["minute"] for row in rows if row["recall"] < LEAST_RECALL]
    if options.json:
        print(json.dumps({"recall": rows, "low": low}))
        return int(bool(low))
    for row in rows:
        print(f"minute {row['minute']:2}  {row['entries']:6} entries  {row['index']:16} K = {row['neighbours']:3}  "
              f"recall {row['recall']:.4f}")  # fmt: skip
    print(f"recall is below {LEAST_RECALL} at minutes {low}" if low else "all checks passed")
    return int(bool(low))


if __name__ == "__main__":
    sys.exit(main())
