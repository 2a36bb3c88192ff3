"""Studies: several recipes are walked forward over the same seasons, and each is compared with the first.

Whoever looks at many recipes finds one that is better by chance: intervals hold for all recipes together, and a recipe
that was chosen is judged on seasons that no choice has seen, by a study of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.backtest import CALIBRATE_SEASONS, Fold, read_fold, run_folds
from dejavu_trainer.evaluation.scoring.fold_scores import BASELINES, CEILING, FORECASTERS, LOGISTIC, OF_LINE, FoldScores
from dejavu_trainer.evaluation.walk_comparison import PairedMetric, compare_walks
from dejavu_trainer.execution import HERE, Advance, Execution, ignore
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache

COMPARED: Final = tuple(each for each in FORECASTERS if each not in (*BASELINES, LOGISTIC, *CEILING, *OF_LINE))
"""Forecasters by which recipes are compared: the references are the same for all recipes."""

_SETTINGS: Final = {"base": {"rating_steps"}, "dejavu": {"rating_steps", "dejavu"}, "lstm": {"rating_steps", "lstm"}}
"""Settings of a recipe that the forecasts of single components depend on, beside those of the ranks; all others depend
on every setting."""


def check_recipes(recipes: Mapping[str, TrainingConfig], forecaster: str) -> None:
    """Check that a study can find a difference.

    Args:
        recipes: the recipes by name.
        forecaster: whose forecasts are compared.

    Raises:
        DataError: if there are fewer than two, or two that cannot differ; the message names them.
    """
    if forecaster not in COMPARED:
        raise DataError(f"there is no forecaster {forecaster!r} of recipes; expected one of {', '.join(COMPARED)}")
    if len(recipes) < 2:
        raise DataError("a study compares recipes with the first; expected two or more")
    used = _SETTINGS.get(forecaster)
    for (first, one), (second, other) in itertools.combinations(recipes.items(), 2):
        if one.digest == other.digest:
            raise DataError(f"{first} and {second} cannot differ: they are the same recipe, {one.digest}")
        if used is not None and all(getattr(one, setting) == getattr(other, setting) for setting in used):
            depends = f"{forecaster} depends only on {', '.join(sorted(used))}"
            raise DataError(f"{first} and {second} cannot differ: {depends}, which they have in common")


def run_study(
    games: Games,
    seasons: Sequence[int],
    recipes: Mapping[str, TrainingConfig],
    forecaster: str,
    out: Path,
    *,
    calibrate_seasons: int = CALIBRATE_SEASONS,
    seed: int = 0,
    execution: Execution = HERE,
    stages: StageCache = NO_CACHE,
    advance: Advance = ignore,
) -> dict[str, list[PairedMetric]]:
    """Backtest recipes, and compare each with the first. Stored folds are used, so that a killed study goes on.

    Args:
        games: games of all seasons needed.
        seasons: test seasons, ascending.
        recipes: the recipes by name, which `check_recipes` has accepted.
        forecaster: whose forecasts are compared.
        out: folder; each recipe's folds are in a folder named by its digest.
        calibrate_seasons: number of seasons before each test season to calibrate on.
        seed: random seed.
        execution: where folds are computed.
        stages: keeps the results of stages of the fits.
        advance: called with the number of folds that are done.

    Returns:
        The metrics of each recipe and of the first, by name, without the first itself. The intervals of a metric hold
        together for all recipes.

    Raises:
        DataError: if games are missing or too few, or a fold has no such forecaster.
        FitError, ExecutionError, OSError: see `backtest`.
    """
    folds = {
        name: [Fold(recipe, season, calibrate_seasons, seed) for season in seasons] for name, recipe in recipes.items()
    }
    # All at once, so that no process waits for the last fold of a recipe.
    stored = [(fold, out / fold.recipe.digest) for of_recipe in folds.values() for fold in of_recipe]
    paths = run_folds(games, stored, execution, stages, advance=advance)
    first, *others = folds

    def walk(name: str) -> dict[int, FoldScores]:
        return {fold.season: read_fold(paths[fold]) for fold in folds[name]}

    base = walk(first)
    return {name: compare_walks(walk(name), base, forecaster, forecaster, len(others)) for name in others}
