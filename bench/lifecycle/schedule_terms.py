"""Measures the error of the expected margin with and without schedule, playoffs and altitude, by season.

Run with `python -m bench.lifecycle.schedule_terms --data DIR` from the project's folder; DIR has the plays of all
seasons. For each tested season the settings of the rating filter are fitted on all seasons before it, once
with the terms and once without, and ratings are carried from game to game. Differences are paired over games.
"""

from __future__ import annotations

import sys

import numpy as np
from bench.lifecycle.seasons import read_tested_seasons

from dejavu_models.arrays import Floats
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import GameTerms
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import ignore
from dejavu_trainer.training.ratings import carry, fit_ratings

RESAMPLES = 2000


def errors(games: Games, season: int, steps: int, *, with_terms: bool) -> tuple[Floats, RatingFilter]:
    """Return the errors of the expected margins of a season, (n,) in points, and the filter after it."""
    settings = fit_ratings(games.select(games.season < season), steps, ignore, with_terms=with_terms)
    start = RatingFilter.start(settings, with_terms=with_terms)
    rated, after = carry(start, games.select(games.season <= season))
    test = rated.of_seasons([season])
    return test.margins - test.games.final, after


def rmse(error: Floats) -> Floats:
    """Return the root mean square over the last axis."""
    return np.asarray(np.sqrt(np.square(error).mean(axis=-1)))


def row(name: str, without: Floats, with_: Floats) -> str:
    """Format the errors without and with terms, and their difference with its 95 % bootstrap interval over games."""
    drawn = np.random.default_rng(0).integers(0, len(with_), (RESAMPLES, len(with_)))
    low, high = np.quantile(rmse(with_[drawn]) - rmse(without[drawn]), (0.025, 0.975))
    plain, better = float(rmse(without)), float(rmse(with_))
    return f"{name:>10} {len(with_):>6,} {plain:>8.3f} {better:>8.3f} {better - plain:>+8.3f} [{low:+.3f}, {high:+.3f}]"


def main(arguments: list[str] | None = None) -> int:
    """Print the errors of each season and of all, and the coefficients after each."""
    games, seasons, steps = read_tested_seasons(__doc__, arguments)
    print(f"{'RMSE':>10} {'games':>6} {'without':>8} {'with':>8} {'difference':>8}   coefficients ± standard deviation")
    parts = []
    for season in seasons:
        without, _ = errors(games, season, steps, with_terms=False)
        with_, after = errors(games, season, steps, with_terms=True)
        deviations = np.sqrt(np.diag(after.covariance))[-len(GameTerms._fields) + 1 :]
        worth = zip(GameTerms._fields[1:], after.ratings().coefficients, deviations.tolist(), strict=True)
        told = ", ".join(f"{name} {points:+.2f} ± {deviation:.2f}" for name, points, deviation in worth)
        print(f"{row(f'{season}', without, with_)} {told}", flush=True)
        parts.append((without, with_))
    print(row("all", *(np.concatenate(each) for each in zip(*parts, strict=True))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
