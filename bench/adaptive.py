"""What adapting intervals costs and gains on made scores: normal ones, and ones that become twice as volatile one day.

Run with `python -m bench.adaptive` from the project's folder. Its seeds are others than those of the tests, which hold
the same promises on 50 seeds. With `--together 8` eight games are forecast before the first of them has ended, as on an
evening; the tests and the papers have one after the other.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from statistics import fmean

from dejavu_models.uncertainty.adaptive import TARGETS, AdaptationMethod, Tracker, score_of

BEFORE, SETTLING, AFTER = 300, 150, 150
"""Games before the shift, after which intervals must hold again, and on which they are measured then."""

SHOWN = (0.05, 0.2, 0.5)


def walk(seed: int, volatility: float, together: int = 1) -> dict[str, list[tuple[list[bool], list[float]]]]:
    """Of each game after SETTLING, by method: whether intervals held, and how many times as wide as static ones.

    Args:
        seed: of the scores.
        volatility: of those after the shift.
        together: how many games are forecast by what was known before all of them.
    """
    rng = random.Random(seed)
    tracker = Tracker()
    static = tuple(score_of(target) for target in TARGETS)
    known: dict[str, tuple[float, ...]] = {}
    found: dict[str, list[tuple[list[bool], list[float]]]] = {
        "static": [],
        **{each.value: [] for each in AdaptationMethod},
    }
    for game in range(BEFORE + SETTLING + AFTER):
        if game % together == 0:
            known = {"static": static, **{each.value: tracker.radii(each) for each in AdaptationMethod}}
        score = rng.gauss(0.0, 1.0 if game < BEFORE else volatility)
        tracker = tracker.after(score)
        if game < BEFORE + SETTLING:
            continue
        for name, radii in known.items():
            shown = [radii[TARGETS.index(alpha)] for alpha in SHOWN]
            wider = [radius / score_of(alpha) for radius, alpha in zip(shown, SHOWN, strict=True)]
            found[name].append(([abs(score) <= radius for radius in shown], wider))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Walks, and prints means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=1000, help="the first of them")
    parser.add_argument("--together", type=int, default=1, help="games that are forecast before the first has ended")
    options = parser.parse_args(arguments)
    shares = "  ".join(f"{100 * (1 - alpha):>4.0f} % held, × width" for alpha in SHOWN)
    print(f"games {SETTLING + 1} to {SETTLING + AFTER} after the shift, mean over {options.seeds} seeds\n")
    print(f"{'scores':14}{'intervals':10}  {shares}")
    for name, volatility in (("as before", 1.0), ("twice as wide", 2.0)):
        seeds = range(options.first, options.first + options.seeds)
        walks = [walk(seed, volatility, options.together) for seed in seeds]
        for method in walks[0]:
            games = [game for each in walks for game in each[method]]
            held = [100 * fmean(each[0][place] for each in games) for place in range(len(SHOWN))]
            wider = [fmean(each[1][place] for each in games) for place in range(len(SHOWN))]
            cells = [f"{share:>9.2f} % {width:>10.3f}" for share, width in zip(held, wider, strict=True)]
            print(f"{name:14}{method:10}{'  '.join(cells)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
