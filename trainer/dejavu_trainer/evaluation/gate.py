"""Where a bundle's verdict comes from: its recipe's walk-forward, or one test on the last of its calibration games.

In that test the models are the very ones that ship; their calibration is made anew from the earlier calibration games,
so that the later ones are new to all of it. The calibration that ships has them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dejavu_models.manifest import VerdictRecord
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.ratings import frozen_margins
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.evaluation.baselines import GamesWithMargins
from dejavu_trainer.evaluation.fold_scores import SCORING_STEPS, FoldScores, score_fold
from dejavu_trainer.evaluation.verdict import judge
from dejavu_trainer.execution.progress import Progress
from dejavu_trainer.training.calibrate import calibrate
from dejavu_trainer.training.ratings import RatedGames, carry, margins_with_frozen_ratings
from dejavu_trainer.training.recipe import TrainingConfig


def holdout_verdict(
    models: PointEnsemble, trained_on: RatedGames, calibrated_on: RatedGames, recipe: TrainingConfig, progress: Progress
) -> VerdictRecord:
    """The verdict on models by one test.

    Args:
        models: those that ship.
        trained_on: the games that they were made from.
        calibrated_on: those that they are calibrated on.
        recipe: how they were made.
        progress: is told how far it is.

    Raises:
        SplitError: if the games to calibrate on are too few to be divided.
    """
    with progress.step("Test once", SCORING_STEPS + 1) as advance:
        earlier, later = divide(calibrated_on.games)
        past = calibrated_on.games.select(earlier)
        standing = margins_with_frozen_ratings(trained_on.after, past)
        calibration = calibrate(models, past, calibrated_on.margins[earlier], standing, recipe.min_cell)
        advance(1)
        test = calibrated_on.games.select(later)
        frozen = carry(trained_on.after, past).after.at(int(test.season[0])).ratings()
        scored = score_fold(
            models,
            calibration,
            earlier=GamesWithMargins(
                Games.joined([trained_on.games, past]),
                np.concatenate([trained_on.margins, calibrated_on.margins[earlier]]),
            ),
            calibrate=GamesWithMargins(past, calibrated_on.margins[earlier]),
            test=GamesWithMargins(test, calibrated_on.margins[later]),
            frozen_margins=frozen_margins(frozen, test.home, test.away),
            min_cell=recipe.min_cell,
            advance=advance,
        )
    return judged([scored], recipe)


def divide(games: Games) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of the games to calibrate the test with, and of those to test on: the last season, or half of the only one.

    Raises:
        SplitError: if a single season has too few days of play.
    """
    last = games.season == games.season[-1]
    return hold_out_last(games.date, 0.5) if last.all() else (~last, last)


def judged(folds: Sequence[FoldScores], recipe: TrainingConfig) -> VerdictRecord:
    """The verdict on scores, as the manifest has it."""
    verdict = judge(folds)
    seasons = sorted({int(season) for fold in folds for season in np.unique(fold.season)})
    return VerdictRecord(fit=verdict.fit, reason=verdict.reason, recipe=recipe.digest, seasons=tuple(seasons))


def verdict_of(backtest: Path, recipe: TrainingConfig) -> VerdictRecord:
    """The verdict of a walk-forward of the same recipe.

    Args:
        backtest: the JSON document that `dejavu-trainer backtest` writes.
        recipe: how the models to judge were made.

    Raises:
        DataError: if it can't be read, or is of another recipe.
    """
    try:
        document = json.loads(backtest.read_bytes())
        found = VerdictRecord(
            fit=document["verdict"]["fit"],
            reason=document["verdict"]["reason"],
            recipe=document["recipe"],
            seasons=tuple(document["seasons"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{backtest}: is not the result of a backtest: {error}") from error
    if found.recipe != recipe.digest:
        raise DataError(
            f"{backtest}: is of recipe {found.recipe}, not of {recipe.digest}: run a backtest with the same options"
        )
    return found
