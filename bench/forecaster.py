"""Measures the cost of a forecast relative to ONNX Runtime (LSTM) and hnswlib (neighbours), which it can do without.

Run with `python -m bench.forecaster` from the project's folder. Measures one game at a time: its point models, with
those two libraries and NumPy, and compiled; then forecasts, plain and with every extra (explanation, team strength,
nine quantiles, recorded distribution), at some minutes of the game and for both horizons; then a hundred forecasts at a
time: games at the same minute, and an evening of fifty games at random minutes with both horizons each. The cases
alternate within every round, so a busy machine slows all of them equally: compare the ratios between runs, not the
microseconds.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dejavu_feed.teams import TEAMS
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import LSTM, index_name
from dejavu_models.point import features
from dejavu_models.point.compiled import compiled_models
from dejavu_models.point.dejavu import Dejavu, DejavuSettings
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.graph import Graph
from dejavu_models.point.index import join_graphs, read_index
from dejavu_models.point.lstm import Lstm
from dejavu_models.point.lstm_graph import INPUT, OUTPUT
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon

MINUTES = (6, 18, 24, 47)
GAMES = 50
BATCH = 100
LEVELS = tuple(tenths / 10 for tenths in range(1, 10))


@dataclass(frozen=True, slots=True)
class Case:
    """A benchmark case.

    Attributes:
        name: label of the case.
        call: runs the case once for the game with a given number.
        forecasts: forecasts per call.
        minute: minute of the baseline it is compared with: the libraries alone, one game at a time.
    """

    name: str
    call: Callable[[int], object]
    forecasts: int
    minute: int


def game(number: int, minute: int) -> tuple[float, ...]:
    """Returns the pattern of a plausible game at a minute; deterministic."""
    rng = random.Random(number)
    return tuple(accumulate(rng.choice((-3.0, -2.0, 0.0, 0.0, 2.0, 3.0)) for _ in range(minute)))


def query(number: int, minute: int, horizon: Horizon, *, extras: bool) -> ForecastQuery:
    """Returns a query for the game with a given number."""
    pattern = ScorePattern(game(number, minute))
    if not extras:
        return ForecastQuery(pattern, horizon)
    home, away = random.Random(number).sample(sorted(TEAMS), 2)
    return ForecastQuery(
        pattern, horizon, home_team=home, away_team=away, explain=True, quantile_levels=LEVELS, record=True
    )


def horizons(minute: int) -> list[Horizon]:
    """Returns the horizons after a minute."""
    return [horizon for horizon in Horizon if minute <= horizon.last_slot]


def evening(*, extras: bool) -> list[ForecastQuery]:
    """Returns a hundred queries: fifty games in their first 23 minutes, each for both horizons."""
    rng = random.Random(0)
    minutes = [rng.randint(6, Horizon.HALFTIME.last_slot) for _ in range(GAMES)]
    return [
        query(number, minute, horizon, extras=extras) for number, minute in enumerate(minutes) for horizon in Horizon
    ]


def cases(bundle: Path, forecaster: Forecaster) -> Iterator[Case]:
    """Yields all cases; for each minute the libraries alone come first."""
    plain = uncompiled(bundle, forecaster)
    for minute in MINUTES:
        yield Case("the libraries alone", libraries(bundle, forecaster, plain, minute), 1, minute)
        yield Case("the point models, NumPy", batch_of_one(plain, minute), 1, minute)
        yield Case("the point models, compiled", one_game(forecaster, minute), 1, minute)
        for horizon in horizons(minute):
            for extras in (False, True):
                queries = [query(number, minute, horizon, extras=extras) for number in range(BATCH)]
                label = f"{horizon.value}{', every extra' if extras else ''}"
                yield Case(f"one, {label}", one_by_one(forecaster, queries), 1, minute)
                yield Case(f"one of {BATCH}, {label}", together(forecaster, queries), BATCH, minute)
    for extras in (False, True):
        label = f"one of an evening's {2 * GAMES}{', every extra' if extras else ''}"
        yield Case(label, together(forecaster, evening(extras=extras)), 2 * GAMES, 18)


def one_by_one(forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> Callable[[int], object]:
    """Forecasts one game per call, like a single RPC."""
    return lambda number: forecaster.forecast(queries[number % len(queries)])


def together(forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> Callable[[int], object]:
    """Forecasts all games in one pass, like a batch."""

    def call(_: int) -> object:
        for each in queries:
            forecaster.check(each)
        return forecaster.forecast_many(queries)

    return call


def uncompiled(bundle: Path, forecaster: Forecaster) -> PointEnsemble:
    """Returns the point models of a bundle without the compiled extension."""
    models = forecaster.models
    contents = {minute: (bundle / index_name(minute)).read_bytes() for minute in MINUTES}
    indexes = {
        minute: read_index(content, minute, len(models.minutes[minute].entries)) for minute, content in contents.items()
    }
    graphs = {minute: index for minute, index in indexes.items() if isinstance(index, Graph)}
    searched = join_graphs(graphs, forecaster.manifest.dejavu.neighbours, compiled=False)
    minutes = {
        minute: Dejavu(searched[minute], models.minutes[minute].entries, models.minutes[minute].settings)
        for minute in graphs
    }
    return replace(models, lstm=Lstm((bundle / LSTM).read_bytes(), compiled=False), minutes=minutes)


def batch_of_one(models: PointEnsemble, minute: int) -> Callable[[int], object]:
    """Runs the point models for one game as for many."""
    patterns = [np.array([game(number, minute)]) for number in range(BATCH)]
    margins = np.full(1, math.nan)
    return lambda number: models.predict(patterns[number % BATCH], margins)


def one_game(forecaster: Forecaster, minute: int) -> Callable[[int], object]:
    """Runs the compiled point models.

    Raises:
        SystemExit: if the extension was not built.
    """
    models = compiled_models(forecaster.models)
    if models is None:
        raise SystemExit("the compiled extension was not built: install a C++ compiler, and `pip install -e .` again")
    patterns = [game(number, minute) for number in range(BATCH)]
    return lambda number: models.predict(patterns[number % BATCH], None)


def libraries(bundle: Path, forecaster: Forecaster, plain: PointEnsemble, minute: int) -> Callable[[int], object]:
    """Runs the LSTM and the neighbour search on precomputed inputs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession((bundle / LSTM).read_bytes(), options, providers=["CPUExecutionProvider"])
    record = forecaster.manifest.dejavu
    settings = DejavuSettings(record.recency, record.neighbours, record.kernel)
    index = plain.minutes[minute].index
    patterns = np.array([game(number, minute) for number in range(BATCH)])
    steps = features.minute_steps(patterns, np.full(BATCH, math.nan))
    vectors = features.pattern_vectors(patterns, settings.recency)

    def bare(number: int) -> None:
        row = number % BATCH
        session.run([OUTPUT], {INPUT: steps[row : row + 1]})
        index.nearest(vectors[row : row + 1], settings.neighbours)

    return bare


def measure(measured: Sequence[Case], rounds: int, calls: int) -> list[list[float]]:
    """Measures seconds per forecast for each case and round; discards the first round, which warms up."""
    seconds: list[list[float]] = [[] for _ in measured]
    for number in range(rounds + 1):
        for case, each in zip(measured, seconds, strict=True):
            turns = calls if case.forecasts == 1 else 1
            start = time.perf_counter()
            for turn in range(turns):
                case.call(number * turns + turn)
            each.append((time.perf_counter() - start) / turns / case.forecasts)
    return [each[1:] for each in seconds]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints medians over rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle",
        type=Path,
        default=default_bundle(),
        metavar="DIR",
        help="model bundle (default: the one that ships)",
    )
    parser.add_argument("--rounds", type=int, default=40, help="measured rounds, after one warm-up round")
    parser.add_argument("--calls", type=int, default=25, help="calls per round of each single-game case")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    measured = list(cases(options.bundle, load_bundle(options.bundle, allow_unfit=True)))
    seconds = measure(measured, options.rounds, options.calls)
    bases = {case.minute: each for case, each in zip(measured, seconds, strict=True) if "libraries" in case.name}
    rows = []
    for case, each in zip(measured, seconds, strict=True):
        ratio = statistics.median(one / other for one, other in zip(each, bases[case.minute], strict=True))
        rows.append({"minute": case.minute, "name": case.name, "us": 1e6 * statistics.median(each), "ratio": ratio})
    if options.json:
        print(json.dumps(rows))
        return 0
    print(f"{'minute':>6}  {'a forecast':38} {'µs':>7}   × the libraries, one game at that minute")
    for row in rows:
        print(f"{row['minute']:>6}  {row['name']:38} {row['us']:>7.0f}   × {row['ratio']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
