"""Simulates how much the coverage of seasons differs by chance, with and without the factor of the season.

All games are random walks of the same distribution, so seasons differ only by chance. Intervals come from the seasons
before; with the factor (`dejavu_models.uncertainty.season_scale`) they also follow the games of their own season, which
removes a part of these differences.

    python -m bench.lifecycle.season_chance --rounds 150
"""

from __future__ import annotations

import argparse

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS
from dejavu_trainer.evaluation.scoring.lattice_scores import factors_of_days_before

GAMES, GAMES_A_DAY = 1250, 7
CALIBRATED, TESTED = 4, 5
LEVEL = 0.8
MIDPOINTS = [minute - 1 for minute in QUARTER_MIDPOINTS]
"""Columns of the minutes whose scores update the factor: the middle of each quarter."""


def season(rng: np.random.Generator) -> Floats:
    """Return the standardised residuals of the end after each minute, (games, 47)."""
    walk = rng.standard_normal((GAMES, 48)).cumsum(axis=1)
    residuals: Floats = (walk[:, -1:] - walk[:, :47]) / np.sqrt(48 - np.arange(1, 48))
    return residuals


def factors(squares: Floats) -> Floats:
    """Return the factor of the spreads before each game, (games,), from the days before."""
    return factors_of_days_before(squares, np.arange(len(squares)) // GAMES_A_DAY)


def spreads(rng: np.random.Generator) -> tuple[float, float]:
    """Return the standard deviation of the coverage between the tested seasons, without the factor and with it."""
    seasons = [season(rng) for _ in range(CALIBRATED + TESTED)]
    plain, following = [], []
    for tested in range(CALIBRATED, len(seasons)):
        earlier, scores = np.concatenate(seasons[:tested]), seasons[tested]
        ends = np.quantile(np.abs(earlier), LEVEL, axis=0)
        variance = np.square(earlier).mean(axis=0)
        squares = (np.square(scores) / variance)[:, MIDPOINTS].mean(axis=1)
        plain.append((np.abs(scores) <= ends).mean())
        following.append((np.abs(scores) <= ends * factors(squares)[:, None]).mean())
    return float(np.std(plain, ddof=1)), float(np.std(following, ddof=1))


def main() -> None:
    """Print the standard deviations in percentage points."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=150, help="simulated walk-forwards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--observed", type=float, default=0.75, help="observed standard deviation, in points")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    found = 100 * np.array([spreads(rng) for _ in range(options.rounds)])
    for column, name in enumerate(("without the factor", "with the factor")):
        values = found[:, column]
        reached = 100 * (values >= options.observed).mean()
        print(
            f"{name}: {np.sqrt(np.square(values).mean()):.2f} points, 99 % of walk-forwards below"
            f" {np.quantile(values, 0.99):.2f}; {options.observed:g} or more in {reached:.0f} %"
        )


if __name__ == "__main__":
    main()
