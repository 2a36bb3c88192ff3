"""Compares two bundles by the cost of a search for similar games and of a whole forecast.

    python -m bench.neighbours.costs --bundle DIR --against OTHER

Costs are CPU time of the thread; forecasts are without explanation. The two bundles alternate within every round, so a
busy machine slows both of them equally: compare the ratios, which are medians over rounds, not the microseconds. Exits
with 1 if a forecast costs more than 1.05 times as much as with the other bundle, averaged over minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from bench.index import cpu_us

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.point import features
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon

MINUTES = (6, 18, 24, 47)
BATCH = 100
"""Number of different games through which the measured calls cycle."""

MOST_RATIO = 1.05
"""Highest accepted ratio of the cost of a forecast to its cost with the other bundle."""


def query(number: int, minute: int) -> ForecastQuery:
    """Return a query for the final differential of a simulated game; the same number gives the same game."""
    rng = random.Random(number)
    pattern = tuple(accumulate(rng.choice((-3.0, -2.0, 0.0, 0.0, 2.0, 3.0)) for _ in range(minute)))
    return ForecastQuery(ScorePattern(pattern), Horizon.FINAL)


def search(forecaster: Forecaster, minute: int) -> Callable[[int], object]:
    """Return a function that searches the neighbours of the game with a given number."""
    dejavu = forecaster.models.minutes[minute]
    patterns = [np.array([query(number, minute).pattern.differentials]) for number in range(BATCH)]
    vectors = [features.pattern_vectors(each.astype(np.float64), dejavu.settings.recency) for each in patterns]
    return lambda number: dejavu.index.nearest(vectors[number % BATCH], dejavu.settings.neighbours)


def what_if(forecaster: Forecaster, minute: int) -> Callable[[int], object]:
    """Return a function that forecasts the end of the game with a given number."""
    queries = [query(number, minute) for number in range(BATCH)]
    return lambda number: forecaster.forecast(queries[number % BATCH])


def costs(forecasters: Sequence[Forecaster], rounds: int, calls: int) -> list[dict[str, Any]]:
    """Measure CPU time per search and per forecast with both bundles, alternating."""
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


def breaches(compared: Sequence[dict[str, Any]]) -> list[str]:
    """Describe the failed checks; empty if all pass."""
    mean = statistics.fmean(row["ratio"] for row in compared if row["case"] == "forecast")
    if mean > MOST_RATIO:
        return [f"a forecast costs {mean:.2f} times as much as with the other bundle, more than {MOST_RATIO}"]
    return []


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="the bundle; default: the one that ships")
    parser.add_argument("--against", type=Path, required=True, help="another bundle")
    parser.add_argument("--rounds", type=int, default=40, help="measured rounds, after one warm-up round")
    parser.add_argument("--calls", type=int, default=50, help="calls per round of each case and bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    bundles = [load_bundle(folder, allow_unfit=True) for folder in (options.bundle, options.against)]
    compared = costs(bundles, options.rounds, options.calls)
    failed = breaches(compared)
    if options.json:
        print(json.dumps({"costs": compared, "breaches": failed}))
        return int(bool(failed))
    for row in compared:
        print(f"{row['case']:8} minute {row['minute']:2}  {row['us']:6.1f} µs  other {row['other_us']:6.1f} µs  "
              f"× {row['ratio']:.2f}")  # fmt: skip
    print("\n".join(failed) or "all checks passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
