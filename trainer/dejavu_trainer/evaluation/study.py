"""Comparisons of forecasts, game by game: of two walk-forwards, and of the recipes of a study with the first.

Whoever looks at many recipes finds one that is better by chance: the intervals of a study hold for all recipes
together, and a recipe that was chosen is judged on seasons that no choice has seen, by a study of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.metrics import LEVEL, Estimate
from dejavu_trainer.evaluation.figures import MARGINS, Columns, Figures, Table, pool, read_table
from dejavu_trainer.evaluation.fold_scores import NO_LIVE, PARTS, SERVED, STATIC
from dejavu_trainer.training.recipe import TrainingConfig

COMPARED: Final = (*SERVED, NO_LIVE, STATIC, *PARTS)
"""Forecasters by which recipes are compared: the references are the same for all recipes."""

FIRST, SECOND, BASELINE = "first", "second", "persistence"
"""Forecasters of a comparison."""

METRICS: Final = ("crps", "mae", "brier", "coverage_95")
"""Metrics of a comparison; coverage is no score, its difference says which intervals hold more often."""


class Compared(NamedTuple):
    """A metric of both forecasters and of persistence, on the same games, and the mean difference of the two.

    Attributes:
        season: a season, or `all`.
        horizon, metric: of the forecasts.
        games: number of games.
        first, second, persistence, difference: with intervals.
    """

    season: str
    horizon: str
    metric: str
    games: int
    first: Estimate
    second: Estimate
    persistence: Estimate
    difference: Estimate


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
    for (first, one), (second, other) in combinations(recipes.items(), 2):
        if one.digest == other.digest:
            raise DataError(f"{first} and {second} cannot differ: they are the same recipe, {one.digest}")
        if used is not None and all(getattr(one, setting) == getattr(other, setting) for setting in used):
            depends = f"{forecaster} depends only on {', '.join(sorted(used))}"
            raise DataError(f"{first} and {second} cannot differ: {depends}, which they have in common")


def read_walk(folder: Path) -> dict[int, Table]:
    """Read the folds of a walk-forward, by season.

    Raises:
        DataError: if there are none, several of one season, or one that can't be read.
    """
    folds = dict[int, Table]()
    for path in sorted(folder.glob("fold-*.npz")):
        fold = read_table(path)
        season = int(fold.columns["fold.season"][0])
        if season in folds:
            raise DataError(f"{folder}: has several folds of {season}; expected those of one recipe")
        folds[season] = fold
    if not folds:
        raise DataError(f"{folder}: has no folds of a walk-forward")
    return folds


def compare_walks(
    walk: Mapping[int, Table], against: Mapping[int, Table], forecaster: str, other: str, looks: int = 1
) -> Figures:
    """Compare a forecaster of one walk-forward with one of another, on the games that both have tested.

    Args:
        walk: folds of the first by season.
        against: folds of the second.
        forecaster: that of the first.
        other: that of the second.
        looks: number of comparisons of which this is one. Their intervals hold together with the confidence of one
            (Bonferroni): each has level 1 − 0.05 / looks.

    Returns:
        The figures of FIRST and SECOND, and of persistence as BASELINE.

    Raises:
        DataError: if no season is in both; if fewer than two games of one are in both, an outcome differs, or a fold
            lacks its forecaster.
    """
    seasons = sorted(walk.keys() & against.keys())
    if not seasons:
        ours, theirs = (", ".join(map(str, sorted(each))) for each in (walk, against))
        raise DataError(f"no season is in both: {ours} and {theirs}")
    paired = [_paired(season, walk[season], against[season], forecaster, other) for season in seasons]
    return Figures(pool(paired), level=1 - (1 - LEVEL) / looks)


def compared(figures: Figures) -> Iterator[Compared]:
    """Yield the figures of `compare_walks` that all three have, over all seasons and by season."""
    for target, kind in product(MARGINS.values(), ("all", "season")):
        for group, metric in product(figures.groups(target, kind), METRICS):
            place = partial(figures.get, target, metric=metric, kind=kind, group=group)
            found = [place(FIRST), place(SECOND), place(BASELINE), place(FIRST, reference=SECOND, compare="difference")]
            values = [each for each in found if each is not None]
            if len(values) == len(found):
                yield Compared(group, target, metric, figures.games(target, kind, group), *values)


def _paired(season: int, fold: Table, against: Table, forecaster: str, other: str) -> Table:
    """Return the forecasts of both, and of persistence, of the games in both folds."""
    for name, table in ((forecaster, fold), (other, against)):
        known = table.forecasters(MARGINS[next(iter(MARGINS))])
        if name not in known:
            raise DataError(f"season {season}: has no forecaster {name!r}; expected one of {', '.join(sorted(known))}")
    ours, theirs = (table.columns["game.game_id"] for table in (fold, against))
    common, left, right = np.intersect1d(ours, theirs, return_indices=True)
    if len(common) < 2:
        raise DataError(f"season {season}: fewer than two games are in both")
    result: Columns = {name: column for name, column in fold.columns.items() if name.startswith("fold.")}
    result |= {name: column[left] for name, column in fold.columns.items() if name.startswith("game.")}
    for horizon, target in MARGINS.items():
        outcomes = fold.by_minute(horizon, "outcome")[left], against.by_minute(horizon, "outcome")[right]
        differ = (outcomes[0] != outcomes[1]).any(axis=1)
        if differ.any():
            raise DataError(f"season {season}: game {common[differ][0]} has another result in the other data")
        result[f"{target}.game"] = np.repeat(np.arange(len(common), dtype=np.int32), horizon.last_slot)
        for name in ("second", "outcome"):
            result[f"{target}.{name}"] = fold.by_minute(horizon, name)[left].ravel()
        sides = (FIRST, fold, forecaster, left), (SECOND, against, other, right), (BASELINE, fold, BASELINE, left)
        for side, table, name, rows in sides:
            prefix = f"{target}.{name}."
            for column in [each.removeprefix(prefix) for each in table.columns if each.startswith(prefix)]:
                result[f"{target}.{side}.{column}"] = table.by_minute(horizon, f"{name}.{column}")[rows].ravel()
    return Table(result)
