"""Walk-forward backtest: evaluates a recipe season by season, using only earlier games.

The newest seasons before test season S are calibration seasons: their ranks calibrate the distributions. Models, tables
and the settings of the ratings are fitted on the seasons before these. The ratings are carried from game to game
throughout; forecasts are also made with ratings frozen before the season, as on a server.

Forecasts of total points need none of the models of margins: for each season, everything is fitted on all seasons
before it.

The table of each season is a file, written atomically, so that a killed walk-forward can resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.fold_scores import score
from dejavu_trainer.evaluation.scoring.totals import score_totals
from dejavu_trainer.evaluation.table import Table, read_table
from dejavu_trainer.execution import HERE, Advance, Execution, ignore
from dejavu_trainer.lineage import digest_of
from dejavu_trainer.training.calibrate import fit_recipe
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache
from dejavu_trainer.training.totals import fit_totals

CALIBRATE_SEASONS: Final = 2
"""Number of seasons before the test season that are used for calibration."""

FORM: Final = 12
"""Format version of the files of folds; incremented with every change of the scores or their storage."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One test season of a walk-forward.

    Attributes:
        recipe: the training configuration.
        season: test season, by the year in which it ends.
        calibrate_seasons: number of seasons before it to calibrate on; all earlier ones are training seasons.
        seed: random seed.
    """

    recipe: TrainingConfig
    season: int
    calibrate_seasons: int = CALIBRATE_SEASONS
    seed: int = 0

    def check(self, games: Games) -> None:
        """Check that there are games to train on, calibrate on and test on.

        Raises:
            DataError: if not; the message names the missing season.
        """
        available = np.unique(games.season).tolist()
        first = self.season - self.calibrate_seasons
        needed = [*range(first, self.season + 1)]
        if missing := [season for season in needed if season not in available]:
            found = ", ".join(map(str, available)) or "none"
            raise DataError(f"testing on {self.season} requires games of {missing[0]}; found seasons: {found}")
        if not any(season < first for season in available):
            calibrating = f"the {self.calibrate_seasons} before it only calibrate (--calibrate-seasons)"
            raise DataError(f"testing on {self.season} requires a season before {first} to train on: {calibrating}")

    def key(self, games: Games) -> str:
        """Return a hash of all inputs of the fold's scores: the first 16 hexadecimal digits of a SHA-256."""
        until = games.select(games.season <= self.season)
        inputs = FORM, self.recipe.digest, self.season, self.calibrate_seasons, self.seed, until.fingerprint
        return digest_of(inputs)

    def run(self, games: Games, stages: StageCache = NO_CACHE) -> Table:
        """Train and calibrate models on earlier seasons, and score them on the test season.

        Args:
            games: games of all seasons up to the test season; later ones are ignored.
            stages: keeps the results of stages of the fit.

        Raises:
            DataError: if games are missing, or too few.
            FitError: if the LSTM can't be fitted.
        """
        self.check(games)
        first = self.season - self.calibrate_seasons
        train = games.select(games.season < first)
        to_calibrate = games.select((games.season >= first) & (games.season < self.season))
        models = fit_recipe(train, to_calibrate, self.recipe, self.seed, stages=stages)
        test = games.select(games.season == self.season)
        table = score(models, test)
        earlier = games.select(games.season < self.season)
        totals = fit_totals(earlier, self.recipe.rating_steps, ignore)
        if totals is None:
            return table
        return Table(table.columns | score_totals(totals, earlier, test))


def backtest(
    games: Games,
    folds: Sequence[Fold],
    out: Path,
    *,
    execution: Execution = HERE,
    stages: StageCache = NO_CACHE,
    advance: Advance = ignore,
) -> list[Table]:
    """Run folds of a recipe, one a test season, and store the scores of each in a folder.

    A stored fold with the same games, recipe and seed is reused.

    Args:
        games: games of all seasons needed.
        folds: the folds, their test seasons ascending.
        out: folder for fold-{season}-{key}.npz; created if it does not exist.
        execution: where folds are computed; does not change the result.
        stages: keeps the results of stages of the fits; on a cluster, in a folder of all its machines.
        advance: called with the number of folds that are done or were stored already.

    Returns:
        The scores of the folds, in the given order.

    Raises:
        DataError: if games are missing or too few, or a stored fold can't be read.
        FitError: if an LSTM can't be fitted.
        ExecutionError, OSError: if the folds can't be computed where they should.
    """
    for fold in folds:
        fold.check(games)
    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob(".fold-*.npz.*"):  # of killed writers
        unfinished.unlink(missing_ok=True)
    paths = [out / f"fold-{fold.season}-{fold.key(games)}.npz" for fold in folds]
    # The newest first: it has the most games to train on, and should not be the last to end.
    pending = [(fold, path) for fold, path in reversed([*zip(folds, paths, strict=True)]) if not path.exists()]
    advance(len(folds) - len(pending))

    def store(number: int, scores: bytes) -> None:
        write_atomic(pending[number][1], scores)
        advance(1)

    execution.map(partial(_scores, stages=stages), [fold for fold, _ in pending], games, done=store)
    return [read_table(path) for path in paths]


def _scores(fold: Fold, games: Games, stages: StageCache) -> bytes:
    return fold.run(games, stages).to_bytes()
