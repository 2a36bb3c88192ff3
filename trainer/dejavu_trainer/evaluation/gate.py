"""Verdict of a bundle: from a walk-forward of its recipe, or from one holdout test on the last calibration games.

The holdout test fits the recipe a second time without the last games, which are then unseen. The bundle is fitted on
all games.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models.manifest import VerdictRecord
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.evaluation.scoring.fold_scores import SCORING_STEPS, score
from dejavu_trainer.evaluation.verdict import judge
from dejavu_trainer.execution import HERE, Execution, Progress
from dejavu_trainer.training.calibrate import CalibratedModels
from dejavu_trainer.training.recipe import TrainingConfig


def holdout_verdict(models: CalibratedModels, progress: Progress, execution: Execution = HERE) -> VerdictRecord:
    """Return the verdict on the models of a bundle from one holdout test.

    Raises:
        DataError: if there are too few calibration games to split.
    """
    games = models.calibrate.games
    _, later = divide(games)
    earlier_models = models.without(later, progress, execution)
    with progress.step("Evaluate on the holdout", SCORING_STEPS) as advance:
        scored = score(earlier_models, games.select(later), advance)
    verdict, seasons = judge([scored]), np.unique(scored.season).tolist()
    return VerdictRecord(fit=verdict.fit, reason=verdict.reason, recipe=models.recipe.digest, seasons=tuple(seasons))


def divide(games: Games) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the calibration and of the test games: the last season, or the later half of a single one.

    Raises:
        DataError: if a single season has games on too few days.
    """
    last = games.season == games.season[-1]
    return hold_out_last(games.date, 0.5) if last.all() else (~last, last)


def verdict_of(backtest: Path, recipe: TrainingConfig, games: Games) -> tuple[VerdictRecord, str]:
    """Read the verdict of a walk-forward with the same recipe from the JSON file that it wrote.

    Args:
        backtest: the file.
        recipe: the recipe of the bundle.
        games: the games that the bundle is made from. A season that the walk-forward used as well must have the same
            games.

    Returns:
        The verdict, and a note on limits of its meaning for these games; empty if there are none.

    Raises:
        DataError: if the file can't be read, has another recipe, or other games of a season.
    """
    try:
        document = json.loads(backtest.read_bytes())
        record = VerdictRecord(
            fit=document["verdict"]["fit"],
            reason=document["verdict"]["reason"],
            recipe=document["recipe"],
            seasons=tuple(document["seasons"]),
        )
        tested: dict[str, str] = dict(document.get("method", {}).get("data_by_season", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{backtest}: is not the result of a backtest: {error}") from error
    if record.recipe != recipe.digest:
        raise DataError(
            f"{backtest}: has recipe {record.recipe}, not {recipe.digest}: run a backtest with the same options"
        )
    if not tested:
        return record, f"{backtest} does not say which games it is about: whether these are the same was not checked"
    given = games.fingerprints
    if other := [season for season in given if tested.get(season, given[season]) != given[season]]:
        raise DataError(
            f"{backtest}: is about other games of season {', '.join(other)} than those in --data: run a backtest on the"
            " same data"
        )
    if not given.keys() & {f"{season}" for season in record.seasons}:
        seasons = ", ".join(map(str, record.seasons))
        return record, f"none of the seasons that {backtest} tested ({seasons}) is among the games of this bundle"
    return record, ""
