"""What a forecast costs beside what the libraries under it cost: ONNX Runtime for the LSTM, hnswlib for the neighbours.

Run with `python -m bench.forecaster` from the project's folder. Everything is measured in turn, round after round, so
that a busy machine slows all alike: the ratios of one run compare with those of another, the microseconds don't.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from itertools import accumulate

import numpy as np
import onnxruntime as ort

from dejavu_models import features
from dejavu_models.bundle import load_bundle
from dejavu_models.dejavu import DejavuSettings, load_index
from dejavu_models.lstm import INPUT, OUTPUT
from dejavu_models.registry import default_bundle
from dejavu_models.types import ForecastQuery, ScorePattern

ROUNDS = 40
CALLS = 25
BATCH = 64


def queries(*, explain: bool) -> list[ForecastQuery]:
    """Patterns of plausible games, always the same."""
    rng = random.Random(0)
    walks = [accumulate(rng.choice((-3, -2, 0, 0, 2, 3)) for _ in range(18)) for _ in range(BATCH)]
    return [ForecastQuery(ScorePattern(tuple(map(float, walk))), explain=explain) for walk in walks]


def main() -> None:
    """Measures, and prints medians over rounds."""
    forecaster = load_bundle(default_bundle())
    record = forecaster.manifest.stages[0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = (default_bundle() / record.files.lstm).read_bytes()
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    neighbours = record.dejavu.neighbours
    index = load_index((default_bundle() / record.files.index).read_bytes(), record.slots, record.dejavu.entries)
    index.set_ef(DejavuSettings(record.dejavu.recency, neighbours, record.dejavu.kernel).search_breadth)

    plain, explained = queries(explain=False), queries(explain=True)
    patterns = np.array([query.pattern.differentials for query in plain])
    steps, vectors = features.minute_steps(patterns), features.course_vectors(patterns, record.dejavu.recency)

    def bare(place: int) -> None:
        session.run([OUTPUT], {INPUT: steps[place : place + 1]})
        index.knn_query(vectors[place : place + 1], k=neighbours, num_threads=1)

    measured: dict[str, tuple[Callable[[int], object], int]] = {
        "the libraries alone": (bare, 1),
        "one forecast": (lambda place: forecaster.forecast_many(plain[place : place + 1]), 1),
        "one, explained": (lambda place: forecaster.forecast_many(explained[place : place + 1]), 1),
        f"one of {BATCH}": (lambda _: forecaster.forecast_many(plain), BATCH),
        f"one of {BATCH}, explained": (lambda _: forecaster.forecast_many(explained), BATCH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(ROUNDS):
        for name, (call, forecasts) in measured.items():
            start = time.perf_counter()
            for turn in range(CALLS):
                call((number * CALLS + turn) % BATCH)
            seconds[name].append((time.perf_counter() - start) / CALLS / forecasts)

    base = seconds["the libraries alone"]
    for name, each in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(each, base, strict=True))
        print(f"{name:24} {1e6 * statistics.median(each):7.0f} µs   × {ratio:.2f}")


if __name__ == "__main__":
    main()
