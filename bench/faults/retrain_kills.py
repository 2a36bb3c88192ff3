"""Kills a retrain with SIGKILL at random moments and restarts it: it must end as if it had not been disturbed.

Run with `python -m bench.faults.retrain_kills` from the project's folder; `make nightly` runs `--kills 20`. The games
are simulated, the recipe is small, and every run is a new process, so that a round takes seconds. A round begins with
nothing, kills the retrain once at a moment drawn uniformly from the duration of an undisturbed one, and looks at the
model store; then it starts the retrain again and lets it end. Checked:

- The challenger has the same model version as after the undisturbed retrain.
- After the kill, the store has this bundle complete or has none; at the end it has only this one.
- The work folder contains only results and no partial file, and no process is left.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from tests.support.builders.bundles import quick_recipe
from tests.support.harness.stores import stored_versions

from dejavu_models.registry.store.store import ModelStore
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season

SEASONS = range(2031, 2035)
GAMES = 200

PROGRAM = "import sys; from bench.faults.retrain_kills import retrain_once; retrain_once(*sys.argv[1:])"


@dataclass
class KillResult:
    """Result of the rounds.

    Attributes:
        version: model version of the undisturbed retrain.
        seconds: how long that took.
        kills: number of kills, by the last step that was complete at the kill.
        published: number of kills after which the store had the bundle, complete.
        changed: number of rounds in which the second retrain did not end with `version`.
        problems: the failed checks; empty if all passed.
    """

    version: str = ""
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    published: int = 0
    changed: int = 0
    problems: list[str] = field(default_factory=list)


def retrain_once(data: str, parent: str, folder: str) -> None:
    """Retrain in this process, in a folder with the work folder and the store; print the version."""
    from dejavu_trainer.retraining.retrain import open_retrain
    from dejavu_trainer.retraining.settings import RetrainSettings

    settings = RetrainSettings(
        sources=(data,),
        work=Path(folder, "work"),
        store=str(Path(folder, "store")),
        parent=Path(parent),
        reason="to try kills",
        recipe=quick_recipe(),
        calibration_games=GAMES,
        test_seasons=1,
        test_games=GAMES,
        allow_unfit=True,
    )
    with open_retrain(settings) as retrain:
        print(retrain.run(retrain.due()).model_version)


def prepare(folder: Path) -> tuple[Path, Path]:
    """Simulate the games and fit the parent model; return their folders."""
    from dejavu_trainer.pipeline import fit

    data, parent = folder / "games", folder / "parent"
    for season in SEASONS:
        write_plays(data, season, simulate_season(season, games=GAMES))
    known = load_games(data, SEASONS[:-1])
    fit(known, train=SEASONS[:-2], calibrate=[SEASONS[-2]], out=parent, recipe=quick_recipe())
    return data, parent


def start(data: Path, parent: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a retrain in a new process."""
    command = [sys.executable, "-c", PROGRAM, str(data), str(parent), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complete(data: Path, parent: Path, folder: Path) -> str:
    """Retrain to the end; return the version.

    Raises:
        RuntimeError: if it fails.
    """
    with start(data, parent, folder) as process:
        out, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a retrain ended with {process.returncode}: {error}")
    return out.strip()


def last_step(work: Path) -> str:
    """Return the last step whose result is in a work folder."""
    names = [path.name for path in work.glob("*")] + [path.name for path in work.glob("folds-*/*.npz")]
    for step in ("last", "bundle", "backtest", "fold-", "games", "check"):
        if any(name.startswith(step) for name in names):
            return step.removesuffix("-")
    return "nothing"


def one_round(result: KillResult, data: Path, parent: Path, folder: Path, delay: float) -> None:
    """Kill a retrain after `delay` seconds and check what it left; then run a second one to its end and check that."""
    with start(data, parent, folder) as process:
        time.sleep(delay)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    if alive:
        result.problems.append(f"{len(alive)} processes outlive the retrain")
    store = ModelStore.open(folder / "store", allow_unfit=True)
    step = last_step(folder / "work")
    result.kills[step] = result.kills.get(step, 0) + 1
    for version in stored_versions(store):
        if version != result.version:
            result.problems.append(f"after a kill at {delay:.2f} s the store has {version}, not {result.version}")
        elif not store.is_complete(version):
            result.problems.append(f"after a kill at {delay:.2f} s the store has {version}, incomplete")
        else:
            result.published += 1
    version = complete(data, parent, folder)
    if version != result.version:
        result.changed += 1
        result.problems.append(f"killed at {delay:.2f} s it ended with {version}, not {result.version}")
    if stored_versions(store) != [result.version] or not store.is_complete(result.version):
        result.problems.append(f"at the end the store has {stored_versions(store)}")
    if left := [path.name for path in (folder / "work").glob(".*") if path.name != ".lock"]:
        result.problems.append(f"left in the work folder: {', '.join(left)}")
    published = json.loads((folder / "work/last.json").read_bytes())["model_version"]
    if published != result.version:
        result.problems.append(f"last.json names {published}")


def report(result: KillResult) -> str:
    """Format the result for people."""
    steps = ", ".join(f"{count} after {step}" for step, count in result.kills.items())
    return "\n".join(
        (
            f"undisturbed      model {result.version} in {result.seconds:.1f} s",
            f"kills            {sum(result.kills.values())}: {steps}",
            f"in the store     after {result.published} kills, complete",
            f"same challenger  {'each time' if not result.changed else f'not in {result.changed} rounds'}",
        )
    )


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="kills retrains at random moments")
    parser.add_argument("--kills", type=int, default=20, help="number of rounds")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    result = KillResult()
    with tempfile.TemporaryDirectory(prefix="dejavu-retrain-") as temporary:
        folder = Path(temporary)
        data, parent = prepare(folder)
        started = time.monotonic()
        result.version = complete(data, parent, folder / "undisturbed")
        result.seconds = time.monotonic() - started
        for number in range(options.kills):
            one_round(result, data, parent, folder / f"round-{number}", draw.uniform(0, result.seconds))
    show(json.dumps(asdict(result)) if options.json else report(result))
    for problem in result.problems:
        print(f"broken: {problem}", file=sys.stderr)
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
