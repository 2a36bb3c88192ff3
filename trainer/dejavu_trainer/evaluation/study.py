"""Studies: several recipes are walked forward, one is chosen on some seasons and judged on others.

Whoever looks at many recipes finds one that is better by chance. So the choice sees none of the seasons that judge it,
intervals hold for all recipes together, and a file counts the recipes that were looked at on a season, in this study
and in others.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats
from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS
from dejavu_trainer.data.games import Games, parse_seasons
from dejavu_trainer.evaluation.backtest import Fold, read_fold, run_folds
from dejavu_trainer.evaluation.metrics import losses
from dejavu_trainer.evaluation.scoring.fold_scores import FORECASTERS, LOGISTIC, OF_LINE, FoldScores
from dejavu_trainer.evaluation.walk_comparison import mean_difference
from dejavu_trainer.execution import HERE, Advance, Execution, ignore
from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe, problem, read_toml
from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache

BASE: Final = "base"
"""Name of the recipe without a setting of the grid, which the others are compared with."""

PERSISTENCE: Final = "persistence"

MAX_RECIPES: Final = 200

WITH_DISTRIBUTION: Final = tuple(each for each in FORECASTERS if each not in (LOGISTIC, OF_LINE[1]))
"""Forecasters that have a CRPS; those of line and players may be missing in a fold."""


def _seasons(value: object) -> tuple[int, ...]:
    if not isinstance(value, str):
        raise ValueError('expected a text such as "2019-2021"')
    return parse_seasons(value)


def _forecaster(value: str) -> str:
    if value not in WITH_DISTRIBUTION:
        raise ValueError(f"there is no {value!r}; expected one of {', '.join(WITH_DISTRIBUTION)}")
    return value


_Seasons = Annotated[tuple[int, ...], BeforeValidator(_seasons)]


class StudyPlan(BaseModel):
    """A study, as its file gives it.

    Attributes:
        choose: seasons on which the recipe is chosen.
        judge: other seasons, on which it is compared with the base.
        forecaster: forecaster by whose CRPS recipes are compared, of WITH_DISTRIBUTION.
        calibrate_seasons: seasons before each test season to calibrate on.
        seeds: random seeds; the scores of a game are means over them.
        recipe: settings of all recipes; the base has these alone.
        grid: values of further settings by name, such as lstm.hidden; every combination is a recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    choose: _Seasons
    judge: _Seasons
    forecaster: Annotated[str, AfterValidator(_forecaster)] = "mean"
    calibrate_seasons: Annotated[int, Field(ge=1, le=2)] = 2
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=20)] = (0,)
    recipe: dict[str, Any] = {}
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe of a study.

    Attributes:
        name: its settings of the grid, or BASE.
        recipe: the recipe.
    """

    name: str
    recipe: TrainingConfig


@dataclass(frozen=True, slots=True)
class TrialScore:
    """Mean CRPS of a recipe, over both horizons and all minutes, in points.

    Attributes:
        trial: the recipe.
        crps: mean over games.
        difference: mean difference from the base, below 0 is better; None for the base. All intervals of a table hold
            together with 95 %.
    """

    trial: Trial
    crps: float
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class StudyPart:
    """The scores on the seasons that choose or judge.

    Attributes:
        seasons: the seasons.
        games: number of games.
        looks: recipes that were looked at on one of these seasons beside the base, in this study and before.
        persistence: mean CRPS of persistence.
        scores: of the recipes, best first.
    """

    seasons: tuple[int, ...]
    games: int
    looks: int
    persistence: float
    scores: tuple[TrialScore, ...]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Result of a study.

    Attributes:
        plan: the study.
        choice: all recipes on the seasons that choose.
        verdict: the base, and the chosen recipe if it is another, on the seasons that judge.
    """

    plan: StudyPlan
    choice: StudyPart
    verdict: StudyPart

    @property
    def chosen(self) -> Trial:
        """The chosen recipe."""
        return self.choice.scores[0].trial


def read_plan(path: Path) -> StudyPlan:
    """Read a study.

    Raises:
        DataError: if the file is invalid, or its choice has seen a season that judges it; the message names the field.
        OSError: if it cannot be read.
    """
    try:
        plan = StudyPlan.model_validate(read_toml(path))
    except ValidationError as error:
        raise DataError("\n".join(f"{path}: {_problem(each)}" for each in error.errors())) from None
    if seen := sorted({*plan.choose} & {*plan.judge}):
        raise DataError(f"{path}: judge: has {seen[0]}, which also chooses; expected seasons that no choice has seen")
    if (early := plan.judge[0]) < plan.choose[-1]:  # the choice is fitted and calibrated on earlier seasons
        raise DataError(f"{path}: judge: has {early}; expected seasons after {plan.choose[-1]}, the last that chooses")
    return plan


def _problem(error: Any) -> str:
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden" and field in TrainingConfig.__dataclass_fields__:
        return f"{field}: is a setting of the recipe; expected it there: recipe.{field}"
    return problem(error, [*StudyPlan.model_fields])


def trials_of(plan: StudyPlan, name: str) -> list[Trial]:
    """Return the recipes of a study, the base first; each once.

    Args:
        plan: the study.
        name: begins the messages.

    Raises:
        DataError: if a setting is unknown or invalid, or there are more than MAX_RECIPES.
    """
    trials = {(base := Trial(BASE, parse_recipe(plan.recipe, f"{name}: recipe"))).recipe.digest: base}
    for values in itertools.product(*plan.grid.values()):
        settings = dict(zip(plan.grid, values, strict=True))
        told = ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
        recipe = parse_recipe(_with_settings(plan.recipe, settings, name), f"{name}: grid: {told}")
        trials.setdefault(recipe.digest, Trial(told, recipe))
        if len(trials) > MAX_RECIPES:
            raise DataError(f"{name}: grid: has more than {MAX_RECIPES} recipes")
    return list(trials.values())


def _with_settings(document: Mapping[str, Any], settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(document, default=str))
    for key, value in settings.items():
        *tables, last = key.split(".")
        table: Any = result
        for each in tables:
            table = table.setdefault(each, {})
            if not isinstance(table, dict):
                raise DataError(f"{name}: grid: {key}: {each} has no settings of its own")
        table[last] = value
    return result


def run_study(
    games: Games,
    plan: StudyPlan,
    trials: Sequence[Trial],
    out: Path,
    looks: Looks,
    *,
    execution: Execution = HERE,
    stages: StageCache = NO_CACHE,
    advance: Advance = ignore,
) -> StudyResult:
    """Walk all recipes forward over the seasons that choose, and base and choice over those that judge.

    Stored folds are used, so that a killed study goes on.

    Args:
        games: games of all seasons needed.
        plan: the study.
        trials: its recipes, the base first.
        out: folder; each recipe's folds are in a folder named by its digest.
        looks: counts the recipes that are looked at.
        execution: where folds are computed.
        stages: keeps the results of stages of the fits.
        advance: called with the number of folds that are done; there are `folds_of` at most.

    Raises:
        DataError: if games are missing or too few, or a fold has no such forecaster.
        FitError, ExecutionError, OSError: see `backtest`.
    """

    def part(seasons: tuple[int, ...], of_part: Sequence[Trial]) -> StudyPart:
        # All seasons of a recipe before the next one, which then finds the stages that both share.
        newest_first = sorted(seasons, reverse=True)
        pieces = [(trial, season, seed) for trial in of_part for season in newest_first for seed in plan.seeds]
        folds = [
            (Fold(trial.recipe, season, plan.calibrate_seasons, seed), out / trial.recipe.digest)
            for trial, season, seed in pieces
        ]
        paths = run_folds(games, folds, execution, stages, advance=advance)
        scores: dict[str, list[Floats]] = {}
        for (trial, *_), path in zip(pieces, paths, strict=True):
            fold = read_fold(path)  # one at a time: each takes tens of megabytes
            scores.setdefault(trial.name, []).append(_crps_by_game(fold, plan.forecaster))
            if trial.name == BASE:
                scores.setdefault(PERSISTENCE, []).append(_crps_by_game(fold, PERSISTENCE))
        crps = {name: _over_seeds(each, len(plan.seeds)) for name, each in scores.items()}
        how = f"{plan.forecaster}, seeds {list(plan.seeds)}, {plan.calibrate_seasons} to calibrate"
        seen = looks.add(seasons, [f"{each.recipe.digest} {how}" for each in of_part if each.name != BASE])
        shown = [
            TrialScore(
                trial,
                float(crps[trial.name].mean()),
                None if trial.name == BASE else mean_difference(crps[trial.name] - crps[BASE], seen),
            )
            for trial in of_part
        ]
        best_first = tuple(sorted(shown, key=lambda score: score.crps))
        persistence = crps[PERSISTENCE]
        return StudyPart(seasons, len(persistence), seen, float(persistence.mean()), best_first)

    choice = part(plan.choose, trials)
    chosen = choice.scores[0].trial
    return StudyResult(plan, choice, part(plan.judge, [trials[0], *([] if chosen.name == BASE else [chosen])]))


def folds_of(plan: StudyPlan, trials: Sequence[Trial]) -> int:
    """Return the number of folds of a study, if its choice is not the base."""
    return len(plan.seeds) * (len(trials) * len(plan.choose) + 2 * len(plan.judge))


def _crps_by_game(fold: FoldScores, forecaster: str) -> Floats:
    """Return the mean CRPS of games over horizons and minutes, (n,)."""
    if forecaster not in fold.forecasts or fold.forecasts[forecaster].crps is None:
        known = ", ".join(sorted(name for name, each in fold.forecasts.items() if each.crps is not None))
        raise DataError(f"forecaster: {forecaster!r} has no CRPS; expected one of {known}")
    result: Floats = np.mean([losses(fold, forecaster, each)["crps"].mean(axis=1) for each in HORIZONS], axis=0)
    return result


def _over_seeds(scores: Sequence[Floats], seeds: int) -> Floats:
    """Return the means over seeds of the scores of folds, ordered by season and seed, (n games of all seasons,)."""
    by_season = (np.mean(scores[first : first + seeds], axis=0) for first in range(0, len(scores), seeds))
    result: Floats = np.concatenate(list(by_season))
    return result


class Looks:
    """Recipes that were looked at on each season beside the base of their study, kept in a file.

    Args:
        path: the file; created with the first look.

    Raises:
        DataError: if it is not one of ours.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def _read(self) -> dict[str, dict[str, str]]:
        if not self._path.exists():
            return {}
        try:
            return {season: {**looks} for season, looks in json.loads(self._path.read_text()).items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise DataError(f"{self._path}: is no file of looks: {error}") from None

    def add(self, seasons: Sequence[int], looks: Iterable[str]) -> int:
        """Note what was looked at on seasons, also if another study does so at this time.

        Returns:
            The number of different looks that the seasons have had; at least 1.
        """
        today = datetime.now(UTC).date().isoformat()
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            seen = self._read()
            for season, look in itertools.product(seasons, looks):
                seen.setdefault(str(season), {}).setdefault(look, today)
            write_atomic(self._path, (json.dumps(seen, indent=2, sort_keys=True) + "\n").encode())
        finally:
            os.close(folder)
        return max(1, len({look for season in seasons for look in seen.get(str(season), ())}))


def told(result: StudyResult) -> Iterator[str]:
    """Yield what the study says, in sentences."""
    best, verdict = result.choice.scores[0], result.verdict
    if best.difference is None:
        yield "No recipe is better than the base on the seasons that choose."
        return
    yield f"Chosen: {best.trial.name}."
    [judged] = [each.difference for each in verdict.scores if each.difference is not None]
    shown = f"{judged:+.4f} points of CRPS"
    if judged.upper < 0:
        yield f"It is better than the base on seasons that it was not chosen on: {shown}."
    elif judged.lower > 0:
        yield f"It is worse than the base on seasons that it was not chosen on: {shown}."
    else:
        yield f"On seasons that it was not chosen on it is not shown to differ from the base: {shown}."
    if verdict.looks > 1:
        yield f"These seasons have seen {verdict.looks} recipes beside the base: the interval is widened for that."
