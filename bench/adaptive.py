"""Measures coverage and width of adaptive intervals on synthetic normal scores whose scale stays or doubles.

Run with `python -m bench.adaptive` from the project's folder. Uses other seeds than the tests, which check coverage on
30 seeds, with standard deviations of 1.0 and 1.1. With `--together 8`, eight games are forecast before the first of
them has ended, as on an evening; the tests forecast one game after the other.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from statistics import fmean

from dejavu_models.uncertainty.adaptive import Tracker, radius_of_alpha

BEFORE, SETTLING, AFTER = 300, 150, 150
"""Numbers of games: before the shift, after it while the intervals adapt, and then while they are measured."""

SHOWN = (0.05, 0.2, 0.5)


def walk(seed: int, volatility: float, together: int = 1) -> dict[str, list[tuple[list[bool], list[float]]]]:
    """Simulate one series of games.

    Args:
        seed: seed of the scores.
        volatility: standard deviation of the scores after the shift.
        together: number of games that are forecast before any of them has ended.

    Returns:
        By method, for each game after SETTLING: whether the intervals at SHOWN cover the score, and their widths as
        multiples of the static ones.
    """
    rng = random.Random(seed)
    tracker = Tracker()
    static = [radius_of_alpha(alpha) for alpha in SHOWN]
    current: dict[str, list[float]] = {}
    results: dict[str, list[tuple[list[bool], list[float]]]] = {"static": [], "season": []}
    for game in range(BEFORE + SETTLING + AFTER):
        if game % together == 0:
            current = {"static": static, "season": [tracker.season.factor * radius for radius in static]}
        score = rng.gauss(0.0, 1.0 if game < BEFORE else volatility)
        tracker = tracker.after(score)
        if game < BEFORE + SETTLING:
            continue
        for name, radii in current.items():
            wider = [radius / usual for radius, usual in zip(radii, static, strict=True)]
            results[name].append(([abs(score) <= radius for radius in radii], wider))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds and print means over them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--together", type=int, default=1, help="games to forecast before the first of them has ended")
    options = parser.parse_args(arguments)
    shares = "  ".join(f"{100 * (1 - alpha):>4.0f} % covered, × width" for alpha in SHOWN)
    print(f"games {SETTLING + 1} to {SETTLING + AFTER} after the shift, mean over {options.seeds} seeds\n")
    print(f"{'scores':14}{'intervals':10}  {shares}")
    for name, volatility in (("as before", 1.0), ("twice as wide", 2.0)):
        seeds = range(options.first, options.first + options.seeds)
        walks = [walk(seed, volatility, options.together) for seed in seeds]
        for method in walks[0]:
            games = [game for each in walks for game in each[method]]
            coverage = [100 * fmean(each[0][index] for each in games) for index in range(len(SHOWN))]
            wider = [fmean(each[1][index] for each in games) for index in range(len(SHOWN))]
            cells = [f"{share:>9.2f} % {width:>10.3f}" for share, width in zip(coverage, wider, strict=True)]
            print(f"{name:14}{method:10}{'  '.join(cells)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
