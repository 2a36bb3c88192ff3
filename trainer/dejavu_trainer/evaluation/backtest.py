"""The walk-forward: a recipe tried season by season, each time on nothing but what was known before.

For each season tested, models are made from the seasons up to three before it and calibrated on the two before it (or
up to two, and on one). Ratings' settings are chosen on the training games; the ratings themselves are carried from game
to game throughout, and once more as a server has them, as they stood before the season. How many seasons to calibrate
on was chosen on the seasons 2017 and 2018, which are not tested.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from dejavu_trainer.data.games import Games
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.evaluation.baselines import GamesWithMargins
from dejavu_trainer.evaluation.fold_files import FORM, read_fold, remove_partial_files, to_bytes, write_atomic
from dejavu_trainer.evaluation.fold_scores import FoldScores, score_fold
from dejavu_trainer.training.calibrate import calibrate
from dejavu_trainer.training.ratings import carry, choose_start, margins_with_frozen_ratings
from dejavu_trainer.training.recipe import TrainingConfig, train_models

CALIBRATE_SEASONS: Final = 2
"""Two seasons of residuals: with one, chance in the calibration costs probabilities more than older games do."""

_PLAYS = re.compile(r"plays_([0-9]{4})\.parquet", re.ASCII)
_PR_SET_PDEATHSIG = 1
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Fold:
    """One season of a walk-forward.

    Attributes:
        recipe: how models are made.
        season: to test on, by the year in which it ends.
        calibrate_seasons: how many seasons before it are calibrated on; all earlier ones are trained on.
        seed: of everything random.
    """

    recipe: TrainingConfig
    season: int
    calibrate_seasons: int = CALIBRATE_SEASONS
    seed: int = 0

    def check(self, games: Games) -> None:
        """Whether there are games to train on, calibrate on and test on.

        Raises:
            DataError: if not; the message names what is missing.
        """
        there = np.unique(games.season).tolist()
        first = self.season - self.calibrate_seasons
        needed = [*range(first, self.season + 1)]
        if missing := [season for season in needed if season not in there]:
            raise DataError(f"to test on {self.season}, there must be games of {missing[0]}")
        if not any(season < first for season in there):
            raise DataError(f"to test on {self.season}, there must be a season before {first} to train on")

    def key(self, games: Games) -> str:
        """Identifies what the fold's scores depend on: the first 16 hexadecimal digits of a SHA-256."""
        until = games.select(games.season <= self.season)
        content = [FORM, self.recipe.digest, self.season, self.calibrate_seasons, self.seed, until.fingerprint]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def run(self, games: Games) -> FoldScores:
        """Makes models from what was known before the season, and scores them on it.

        Args:
            games: of all seasons up to the one tested, and perhaps more, which are ignored.

        Raises:
            DataError: if games are missing, or too few.
            FitError: if the LSTM can't be fitted.
        """
        self.check(games)
        first = self.season - self.calibrate_seasons
        games = games.select(games.season <= self.season)
        start = choose_start(games.select(games.season < first), self.recipe.rating_steps, lambda _: None)
        rated = GamesWithMargins(games, carry(start, games).margins)
        earlier, test = rated.select(games.season < self.season), rated.select(games.season == self.season)
        train = rated.select(games.season < first)
        to_calibrate = earlier.select(earlier.games.season >= first)
        models = train_models(*train, self.recipe, self.seed, workers=1).models
        trained = carry(start, train.games).after
        ratings = carry(trained, to_calibrate.games).after
        return score_fold(
            models,
            calibrate(
                models, *to_calibrate, margins_with_frozen_ratings(trained, to_calibrate.games), self.recipe.min_cell
            ),
            earlier=earlier,
            calibrate=to_calibrate,
            test=test,
            frozen_margins=margins_with_frozen_ratings(ratings, test.games),
            min_cell=self.recipe.min_cell,
        )


def seasons_there(folder: Path) -> list[int]:
    """The seasons of which a folder, or its subfolder nba/, holds plays; ascending.

    Raises:
        DataError: if there is none.
    """
    names = [path.name for place in (folder, folder / "nba") for path in place.glob("plays_*.parquet")]
    if found := {int(match[1]) for match in map(_PLAYS.fullmatch, names) if match}:
        return sorted(found)
    raise DataError(f"{folder}: holds no plays_SEASON.parquet, nor does {folder / 'nba'}")


def backtest(
    games: Games,
    seasons: Sequence[int],
    recipe: TrainingConfig,
    out: Path,
    *,
    calibrate_seasons: int = CALIBRATE_SEASONS,
    seed: int = 0,
    jobs: int = 1,
    fresh: bool = False,
    advance: Callable[[int], object] | None = None,
) -> list[FoldScores]:
    """Tries a recipe on several seasons, and keeps the scores of each in a folder.

    A fold that lies there already is not computed again, if it is of the same games, recipe and seed.

    Args:
        games: of all seasons needed.
        seasons: to test on, ascending.
        recipe: how models are made.
        out: folder for fold-{season}-{key}.npz; made if it is not there.
        calibrate_seasons: how many seasons before the one tested are calibrated on.
        seed: of everything random.
        jobs: folds computed at a time, each by a process with one thread; the result does not depend on it.
        fresh: whether to compute every fold anew.
        advance: called with 1 after each fold.

    Returns:
        A fold for each season, in their order.

    Raises:
        DataError: if games are missing, or too few, or a fold that lies there can't be read.
        FitError: if an LSTM can't be fitted.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_partial_files(out)
    folds = [Fold(recipe, season, calibrate_seasons, seed) for season in seasons]
    paths = []
    for fold in folds:
        fold.check(games)
        paths.append(out / f"fold-{fold.season}-{fold.key(games)}.npz")
    told = advance or (lambda _: None)
    due = []
    for fold, path in zip(folds, paths, strict=True):
        if fresh or not path.exists():
            due.append((fold, path))
        else:
            told(1)
    _run_all(games, due, jobs, told)
    return [read_fold(path) for path in paths]


def _run_all(games: Games, due: list[tuple[Fold, Path]], jobs: int, told: Callable[[int], object]) -> None:
    if not due:
        return
    if jobs == 1:
        with threadpool_limits(1):
            for fold, path in due:
                _run_one(games, fold, path)
                told(1)
        return
    # Spawned, not forked: torch and onnxruntime have threads of their own, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            min(jobs, len(due)), mp_context=context, initializer=_end_with, initargs=(os.getpid(),)
        ) as pool,
    ):
        try:
            for done in as_completed([pool.submit(_run_one, games, fold, path) for fold, path in due]):
                done.result()
                told(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # what they work on would take minutes
                process.terminate()
            raise


def _run_one(games: Games, fold: Fold, path: Path) -> None:
    write_atomic(path, to_bytes(fold.run(games)))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile compute with one thread each: the folds share the cores among them."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with(parent: int) -> None:
    """Has a process end when the one that started it does, however that ends: else it would wait for work forever."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all; what to say of it is the parent's
