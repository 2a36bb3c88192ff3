"""Runs one walk-forward in several places: the files must be the same bytes. Tells the cost of each place.

Run with `python -m bench.lifecycle.executions` from the project's folder; `make nightly` runs `--kill`. The games are
simulated. The places: this process, two processes of loky, a Ray cluster of two nodes, and for comparison a pool of two
processes of the standard library, started anew, that reads and writes files itself. With `--kill`, each fold kills its
worker with SIGKILL the first time, in the middle. Exits with 1 if a file differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from joblib.externals.loky import get_reusable_executor
from tests.support.builders.bundles import quick_recipe
from tests.support.processes.clusters import ray_cluster
from threadpoolctl import threadpool_limits

from dejavu_common.files import write_atomic
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.evaluation.backtest import Fold, backtest, to_bytes
from dejavu_trainer.execution import Execution
from dejavu_trainer.training.recipe import TrainingConfig

PLACES = ("here", "loky", "ray", "pool")


def killed_once(fold: Fold, games: Games, marks: Path) -> bytes:
    """Compute a fold; the first time, this process is killed in the middle."""
    mark = marks / f"{fold.season}"
    if not mark.exists():
        mark.touch()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return to_bytes(fold.run(games))


def in_a_pool(games: Games, folds: Sequence[Fold], folder: Path) -> None:
    """Compute folds in a pool of two processes, each with one thread."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=threadpool_limits, initargs=(1,)) as pool:
        for done in [pool.submit(write_fold, games, fold, folder) for fold in folds]:
            done.result()


def write_fold(games: Games, fold: Fold, folder: Path) -> None:
    """Compute a fold and write its file."""
    write_atomic(folder / f"fold-{fold.season}-{fold.key(games)}.npz", to_bytes(fold.run(games)))


def note(ends: list[float], began: float, done: int) -> None:
    """Note that folds are done, with the seconds since `began` (monotonic)."""
    ends += [time.monotonic() - began] * done


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="walks forward in several places")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES, help="where, in this order")
    parser.add_argument("--folds", type=int, default=4, help="number of folds")
    parser.add_argument("--games", type=int, default=200, help="games per season")
    parser.add_argument("--prototypes", type=int, default=0, help="the default recipe with these; 0: one of seconds")
    parser.add_argument("--kill", action="store_true", help="kill the worker of each fold once")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    seasons = range(2031, 2033 + options.folds)
    recipe = TrainingConfig(prototypes=options.prototypes) if options.prototypes else quick_recipe()
    folds = [Fold(recipe, season, 1) for season in seasons[2:]]
    report: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="dejavu-executions-") as temporary:
        for season in seasons:
            write_plays(Path(temporary), season, simulate_season(season, games=options.games))
        games = load_games(Path(temporary), seasons)
        for number, place in enumerate(options.places):
            folder = Path(temporary, f"{number}-{place}")
            folder.mkdir()
            with ExitStack() as stack:
                began, cpu = time.monotonic(), sum(os.times()[:4])
                address = stack.enter_context(ray_cluster()) if place == "ray" else "loky"
                start, began = time.monotonic() - began, time.monotonic()
                execution = Execution(address, 1 if place == "here" else 2)
                ends = list[float]()
                if place == "pool":
                    in_a_pool(games, folds, folder)
                elif options.kill and place != "here":
                    marks = Path(temporary, f"{number}-marks")
                    marks.mkdir()
                    scores = execution.map(partial(killed_once, marks=marks), folds, games)
                    for fold, content in zip(folds, scores, strict=True):
                        write_atomic(folder / f"fold-{fold.season}-{fold.key(games)}.npz", content)
                else:
                    backtest(
                        games,
                        seasons[2:],
                        recipe,
                        folder,
                        calibrate_seasons=1,
                        execution=execution,
                        advance=partial(note, ends, began),
                    )
                seconds = time.monotonic() - began
            get_reusable_executor().shutdown()  # loky would keep its processes for the next round
            cpu = sum(os.times()[:4]) - cpu
            files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
            report[f"{number} {place}"] = {"start": start, "seconds": seconds, "cpu": cpu, "ends": ends, "files": files}
            if not options.json:
                digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
                at = ", ".join(f"{end:.1f}" for end in ends)
                times = f"{seconds:8.2f} s  CPU {cpu:6.2f} s  start {start:5.2f} s"
                show(f"{place:8}{times}  files {digest}  folds at {at}")
    if options.json:
        show(json.dumps(report))
    return int(len({json.dumps(found["files"]) for found in report.values()}) != 1)


if __name__ == "__main__":
    sys.exit(main())
