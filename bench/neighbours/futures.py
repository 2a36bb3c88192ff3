"""Compares distances between patterns by the accuracy of forecasts from the neighbours that they select.

    python -m bench.neighbours.futures --data DIR --test 2017-2018

The distance in use weights the squared difference of each minute by its age. A learned one has a weight for each minute
of the pattern, at least 0, fitted to pairs of past games such that the distance predicts the squared difference of the
increments to the horizons, or of the residuals of the linear models. "mixed" is the mean of the weights learned from
increments and those in use.

For each test season everything is fitted on the seasons before it. The number of neighbours K and the recency (the
decay time of the weights, in minutes) are chosen as in a fit: with models of the earlier 70 % of games, on the first
half of the rest. `choose_weights` then weights Dejavu and the LSTM, and all models are fitted again on all earlier
seasons. Every game is an entry, and the search is exact. Prints MAE and CRPS of the linear model, of Dejavu (the linear
model and the shrunken residuals of its neighbours) and of the ensemble, each averaged over minutes and over forecasts
with and without the expected margin. Also prints the paired difference from the distance in use, in %, with a 95 %
bootstrap interval over games. Takes about ten minutes of CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.point import features
from dejavu_models.point.lstm import Lstm
from dejavu_models.ratings import RatingFilter
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_trainer.data.games import load_games, parse_seasons
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.evaluation.backtest import available_seasons
from dejavu_trainer.execution import ignore
from dejavu_trainer.training.ensemble import TrialPredictions, choose_weights
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm import fit_lstm
from dejavu_trainer.training.lstm_config import LstmConfig, LstmExamples
from dejavu_trainer.training.ratings import RatedGames, carry, fit_ratings, margins_in_mode

PAIRS = 300_000
"""Number of pairs of games to which a learned distance is fitted, at each minute."""

RECENCIES = (3.0, 6.0, 12.0, 24.0)


@dataclass(frozen=True, slots=True)
class Distance:
    """A way to weight minutes.

    Attributes:
        name: as printed.
        neighbours: candidates for K.
        learned_from: values whose squared differences the distance is fitted to, "increments" or "residuals"; empty for
            the distance in use.
        mixed: whether to take the mean of the learned weights and of the weights in use at a recency of 6.
    """

    name: str
    neighbours: tuple[int, ...] = (25, 50)
    learned_from: str = ""
    mixed: bool = False

    @property
    def recencies(self) -> tuple[float, ...]:
        """Candidates for the recency."""
        return (6.0,) if self.learned_from else RECENCIES


DISTANCES = (
    Distance("in use"),
    Distance("in use, K ≤ 400", (25, 50, 100, 200, 400)),
    Distance("increments", learned_from="increments"),
    Distance("residuals", learned_from="residuals"),
    Distance("mixed", learned_from="increments", mixed=True),
)


class Fitted(NamedTuple):
    """Games with the residuals of linear models fitted on these games, (n, 47, 2 modes, 2 horizons), in points.

    The modes are MARGIN_SOURCES: without and with the expected margin.
    """

    rated: RatedGames
    residuals: Floats


def learned_squares(patterns: Floats, followed: Floats, seed: int) -> Floats:
    """Fit the weights of squared differences by non-negative least squares; their sum is 1.

    Args:
        patterns: (n, minutes), anchored, in points.
        followed: (n, …), increments or residuals, each column in units of its standard deviation.
        seed: seed of the pairs.
    """
    one, other = np.random.default_rng(seed).integers(0, len(patterns), (2, PAIRS))
    inputs = np.hstack([np.square(patterns[one] - patterns[other]), np.ones((PAIRS, 1))])
    target = np.square(followed[one] - followed[other]).sum(axis=1)
    # The normal equations: the same minimum, with minutes + 1 rows.
    products = inputs.T @ inputs
    lower = np.linalg.cholesky(products + 1e-9 * np.trace(products) / len(products) * np.eye(len(products)))
    weights, _ = nnls(lower.T, np.linalg.solve(lower, inputs.T @ target))
    squares: Floats = weights[:-1]
    return squares / squares.sum() if squares.any() else np.full(len(squares), 1 / len(squares))


def weights_of(distance: Distance, recency: float, past: Fitted, minute: int) -> Floats:
    """Return the weights of the anchored differentials (see features.anchored), (minute,); their squares sum to 1."""
    in_use = features.recency_weights(minute, recency)
    if not distance.learned_from:
        return in_use
    games = past.rated.games
    open_horizons = [index for index, horizon in enumerate(HORIZONS) if minute <= horizon.last_slot]
    followed = past.residuals[:, minute - 1, MarginSource.KNOWN]
    if distance.learned_from == "increments":
        followed = games.outcomes - games.levels[:, minute - 1 : minute]
    followed = followed[:, open_horizons] / followed[:, open_horizons].std(axis=0)
    squares = learned_squares(features.anchored(games.levels[:, :minute]), followed, minute)
    return np.sqrt((squares + np.square(in_use)) / 2 if distance.mixed else squares)


def predict(distance: Distance, recency: float, past: Fitted, asking: RatedGames) -> Floats:
    """Predict the residuals of games as the mean over their K nearest games, for each candidate for K, in points.

    Returns:
        (candidates, n, 47, 2 modes, 2 horizons).
    """
    most = max(distance.neighbours)
    result = np.zeros((len(distance.neighbours), len(asking.games), MAX_SLOTS, len(MARGIN_SOURCES), len(HORIZONS)))
    for minute in range(1, MAX_SLOTS + 1):
        factors = weights_of(distance, recency, past, minute)
        known, asked = (
            features.anchored(np.ascontiguousarray(games.levels[:, :minute])) * factors
            for games in (past.rated.games, asking.games)
        )
        squares = np.square(known).sum(axis=1) - 2 * asked @ known.T
        near = np.argpartition(squares, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(near, np.take_along_axis(squares, near, axis=1).argsort(axis=1), axis=1)
        sums = past.residuals[:, minute - 1][near].cumsum(axis=1)
        for place, count in enumerate(distance.neighbours):
            result[place, :, minute - 1] = sums[:, count - 1] / count
    return result


def gain(predicted: Floats, target: Floats) -> float:
    """Return the share of the squared residuals explained after optimal scaling, the mean over horizons."""
    scale = np.square(target).mean(axis=(0, 2)).clip(min=1e-9)
    cross, size, total = (
        (left * right).sum(axis=(0, 2)) / scale
        for left, right in ((predicted, target), (predicted, predicted), (target, target))
    )
    shares = []
    for index, horizon in enumerate(HORIZONS):
        minutes = slice(0, horizon.last_slot)
        explained = max(cross[minutes, index].sum(), 0) ** 2
        shares.append(explained / max(size[minutes, index].sum() * total[minutes, index].sum(), 1e-12))
    return float(np.mean(shares))


def lstm_residuals(past: Fitted, asking: RatedGames) -> Floats:
    """Fit an LSTM and predict with it: (n, 47, 2 modes, 2 horizons), in points."""
    examples = LstmExamples(past.rated.games.levels, past.rated.margins, past.residuals)
    lstm = Lstm(fit_lstm(examples, LstmConfig(), 0, ignore).graph)
    modes = [lstm.residuals(asking.games.levels, margins_in_mode(mode, asking.margins)) for mode in MARGIN_SOURCES]
    return np.stack(modes, axis=2)


def scores(earlier: Floats, predicted: Floats, target: Floats) -> tuple[list[Floats], list[Floats]]:
    """Return each game's absolute error and CRPS, by horizon.

    The distribution for the CRPS is the prediction plus the errors of earlier games.
    """
    absolute, crps = [], []
    for index, horizon in enumerate(HORIZONS):
        cells = [(slice(None), minute, mode, index) for minute in range(horizon.last_slot) for mode in MARGIN_SOURCES]
        absolute.append(np.mean([np.abs(target[cell] - predicted[cell]) for cell in cells], axis=0))
        crps.append(np.mean([metrics.crps(predicted[cell], earlier[cell], target[cell]) for cell in cells], axis=0))
    return absolute, crps


def compared(values: Floats, base: Floats, draws: NDArray[np.intp]) -> str:
    """Format the difference of two means in % of the second, with its 95 % interval."""
    means = 100 * (values[draws].mean(axis=1) / base[draws].mean(axis=1) - 1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * (values.mean() / base.mean() - 1):+.3f} [{low:+.3f}, {high:+.3f}]"


def test_season(rated: RatedGames, season: int) -> None:
    """Fit on the seasons before `season`, and print the scores on it."""
    past, test = (rated.select(which) for which in (rated.games.season < season, rated.games.season == season))
    early, late = hold_out_last(past.games.date, 0.3)
    trial, held_out = past.select(early), past.select(late)
    fitting, comparing = hold_out_last(held_out.games.date, 0.5)
    trial_linear, linear = fit_linear(*trial), fit_linear(*past)
    on_trial, on_past = (
        Fitted(trial, linear_residuals(trial_linear, *trial)),
        Fitted(past, linear_residuals(linear, *past)),
    )
    late_target, target = linear_residuals(trial_linear, *held_out), linear_residuals(linear, *test)
    late_lstm, lstm = lstm_residuals(on_trial, held_out), lstm_residuals(on_past, test)
    draws = np.random.default_rng(1).integers(0, len(target), (2000, len(target)))
    in_use: dict[str, tuple[list[Floats], list[Floats]]] = {}
    for distance in DISTANCES:
        candidates = [
            (gain(predicted[fitting], late_target[fitting]), recency, place, predicted)
            for recency in distance.recencies
            for place, predicted in enumerate(predict(distance, recency, on_trial, held_out))
        ]
        best, recency, place, late_dejavu = max(candidates, key=lambda each: each[0])
        dejavu = predict(distance, recency, on_past, test)[place]
        parts = [
            TrialPredictions(late_dejavu[part], late_lstm[part], late_target[part]) for part in (fitting, comparing)
        ]
        weights = choose_weights(*parts).combination
        shrinkage, share = (values.T[None, 1:, None, :] for values in (weights.shrinkage, weights.dejavu_weights))
        cases = {
            "linear": (np.zeros_like(late_dejavu), np.zeros_like(dejavu)),
            "dejavu": (shrinkage * late_dejavu, shrinkage * dejavu),
            "ensemble": tuple(
                share * shrinkage * near + (1 - share) * network
                for near, network in ((late_dejavu, late_lstm), (dejavu, lstm))
            ),
        }
        print(f"{season} {distance.name}: recency {recency:g}, K = {distance.neighbours[place]}, gain"
              f" {100 * best:.4f} % held out, {100 * gain(dejavu, target):.4f} % on {season}")  # fmt: skip
        for name, (before, now) in cases.items():
            found = scores(late_target - before, now, target)
            base = in_use.setdefault(name, found)
            for index, horizon in enumerate(HORIZONS):
                differences = [compared(found[kind][index], base[kind][index], draws) for kind in (0, 1)]
                print(f"  {name:8} {horizon.value:8} MAE {found[0][index].mean():.4f} ({differences[0]} %)"
                      f" CRPS {found[1][index].mean():.4f} ({differences[1]} %)", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real games")
    parser.add_argument("--test", default="2017-2018", help="seasons to test on")
    options = parser.parse_args(arguments)
    seasons = parse_seasons(options.test)
    games = load_games(options.data, [each for each in available_seasons(options.data) if each <= seasons[-1]])
    for season in seasons:
        settings = fit_ratings(games.select(games.season < season), 60, ignore)
        rated, _ = carry(RatingFilter.start(settings), games.select(games.season <= season))
        test_season(rated, season)
    return 0


if __name__ == "__main__":
    sys.exit(main())
