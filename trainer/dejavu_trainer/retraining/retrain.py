"""Makes and publishes a challenger, step by step.

    gather → triggers → check → backtest → fit → judge → publish to a store, a server, MLflow

The results of backtest and fit are in the work folder: each is one file, or one folder of a bundle, named by a hash of
its inputs and written atomically. So equal inputs find their results, and other inputs never do. A retrain that was
killed at any moment continues, and ends with the same model version as an undisturbed one: training is deterministic,
and everything outside the work folder changes in one repeatable step.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from dejavu_common.files import write_atomic
from dejavu_models.errors import DejavuError
from dejavu_models.manifest import MAX_TEXT, LineageRecord, Manifest, first_error
from dejavu_models.types import HORIZONS
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle
from dejavu_trainer import pipeline
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.backtest import Fold, RunProvenance, backtest, document_of, result_of
from dejavu_trainer.execution import RETRAIN_LOCK, Progress, locked
from dejavu_trainer.lineage import code_version, digest_of, libraries
from dejavu_trainer.publish import TrackedRun, publish_bundle, run_client, serving_model
from dejavu_trainer.retraining.sources import SourceGames, gather, problems
from dejavu_trainer.retraining.triggers import (
    Basis,
    RetrainSettings,
    SeasonPlan,
    Trigger,
    drifts,
    plan_seasons,
    standing_triggers,
)


class RetrainError(DejavuError):
    """A retrain was refused or failed; the message has the reason and the remedy."""


class RetrainRunning(RetrainError):
    """Another retrain is running in the same work folder."""


_LAST: Final = "last.json"

_RESULT: Final = re.compile(r"[a-z]+-[0-9a-f]{16}")
"""Names of results: what has another name, such as a store within the work folder, is not the retrain's to remove."""


class WorkFolder:
    """The results of a retrain's steps. Create it with `open_work_folder`, which lets one process use it at a time.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = set[str]()

    def path(self, name: str, **inputs: Any) -> Path:
        """Return the path of the result of a step, which `finish` then keeps.

        Args:
            name: the name of the step.
            inputs: its inputs, which must be JSON, with the version of the code; their hash is part of the file's name.
        """
        result = f"{name}-{digest_of(inputs)}"
        self._kept.add(result)
        return self._folder / result

    @property
    def last(self) -> bytes | None:
        """The description of the last challenger that was made here; None if there is none."""
        path = self._folder / _LAST
        return path.read_bytes() if path.exists() else None

    def finish(self, description: str) -> None:
        """Store the description of a challenger, and remove the results of other inputs."""
        write_atomic(self._folder / _LAST, description.encode() + b"\n")
        for path in self._folder.iterdir():
            if _RESULT.fullmatch(path.name) and path.name not in self._kept:
                _remove(path)


@contextmanager
def open_work_folder(folder: Path) -> Iterator[WorkFolder]:
    """Open a work folder for one process, and remove half-done results of a killed one.

    Raises:
        RetrainError: if the folder is in other use: hidden files, and results of other inputs, are removed.
        RetrainRunning: if another process has it open.
        OSError: if it cannot be made or written.
    """
    others = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if others and RETRAIN_LOCK not in others:
        raise RetrainError(f"{folder} has {others[0]} and is no work folder; expected a new or an empty folder")
    with locked(folder, RETRAIN_LOCK, RetrainRunning(f"{folder}: another retrain is running there")):
        for path in folder.glob(".*"):
            if path.name != RETRAIN_LOCK:
                _remove(path)
        yield WorkFolder(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class GamesRefused(RetrainError):
    """The games have problems that were not accepted."""


class ChallengerUnfit(RetrainError):
    """The recipe failed its backtest on these games, so that its model is not published."""


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a new model is due.

    Attributes:
        triggers: met triggers; none: no model is due.
        parent: version of the model that serves.
        basis: the model whose games the triggers were compared with: `parent`, or a challenger that was published, or
            found unfit, since.
        sources: sources read.
        read: the games read.
    """

    triggers: Sequence[Trigger]
    parent: str
    basis: Basis
    sources: Sequence[SourceGames]
    read: Games

    @property
    def games(self) -> int:
        """Number of games read."""
        return len(self.read)

    @property
    def newer(self) -> int:
        """Number of these games that are later than those of the basis."""
        return len(self.basis.newer(self.read))

    @property
    def reason(self) -> str:
        """Reason for the lineage: the triggers, without figures."""
        return "; ".join(trigger.reason for trigger in self.triggers)[:MAX_TEXT]


@dataclass(frozen=True, slots=True)
class Challenger:
    """A challenger that was made and published.

    Attributes:
        bundle: folder of its bundle.
        manifest: manifest of its bundle.
        plan: seasons by their part.
        drifts: differences between the games of the basis and newer ones, with alarm or without.
        tracked: run in MLflow; None without it.
    """

    bundle: Path
    manifest: Manifest
    plan: SeasonPlan
    drifts: list[dict[str, Any]]
    tracked: TrackedRun | None


def look(settings: RetrainSettings, work: WorkFolder, progress: Progress | None = None) -> Due:
    """Read the games and decide whether a new model is due.

    Args:
        settings: settings of the retrain.
        work: its work folder, which no other process uses.
        progress: receives progress updates.

    Raises:
        DataError: if a source can't be read.
        CallFailed: if the server does not answer.
        BundleError: if the parent cannot be read.
        RetrainError: if the description of the last challenger cannot be read.
    """
    with (progress or Progress()).step("Read the games", 1):
        games, sources = gather(settings.sources, seasons=settings.seasons, include_replays=settings.include_replays)
    parent, scorecards = _parent(settings), {}
    basis = _basis(parent, settings, work)
    if settings.server:
        of_model = ("--model", parent.model_version)
        for horizon in (each.value for each in HORIZONS):
            scorecards[horizon] = run_client("scorecard", "--horizon", horizon, *of_model, server=settings.server)
    triggers = standing_triggers(games, basis, scorecards, settings, settings.today())
    return Due(triggers, parent.model_version, basis, sources, games)


def make(settings: RetrainSettings, work: WorkFolder, due: Due, progress: Progress | None = None) -> Challenger:
    """Make a challenger from the games that `look` has read, and publish it.

    Args:
        settings: settings of the retrain.
        work: its work folder, which no other process uses.
        due: the result of `look`; its triggers become the reason in the lineage.
        progress: receives progress updates.

    Raises:
        DataError: if there are too few games.
        GamesRefused, ChallengerUnfit: if the games or the model are refused; nothing is published.
        CallFailed: if the server refuses the bundle or does not answer.
        TrackingError: if MLflow refuses the bundle or does not answer.
        DejavuError: if the store refuses the bundle or fails.
        FitError: if the LSTM can't be fitted.
    """
    games, progress = due.read, progress or Progress()
    if refused := [f"{kind.value}: {told}" for kind, told in problems(games) if kind not in settings.accepted]:
        raise GamesRefused(f"the games are not as expected, and no model was made of them: {'; '.join(refused)}")
    seasons, counts = np.unique(games.season, return_counts=True)
    plan = plan_seasons(dict(zip(seasons.tolist(), counts.tolist(), strict=True)), settings)
    found = [asdict(each) for each in drifts(due.basis.known(games), due.basis.newer(games))]
    bundle = _fit(settings, work, plan, due, _backtest(settings, work, games, plan, progress), progress)
    manifest = read_manifest(bundle)
    if not (manifest.verdict.fit or settings.allow_unfit):
        work.finish(Basis.of_manifest(manifest, unfit_by=_method(settings)).model_dump_json())
        raise ChallengerUnfit(
            f"model {manifest.version} is unfit and was not published: {manifest.verdict.reason} It stays in {bundle}"
        )
    with progress.step("Publish", 1):
        published = publish_bundle(
            bundle,
            store=settings.store,
            server=settings.server,
            mlflow=settings.mlflow,
            allow_unfit=settings.allow_unfit,
        )
    work.finish(Basis.of_manifest(manifest).model_dump_json())
    return Challenger(bundle, manifest, plan, found, published.mlflow)


def _parent(settings: RetrainSettings) -> Basis:
    if settings.server and settings.parent is None:
        version = str(serving_model(settings.server)["version"])
        return Basis.of_manifest(ModelStore.open(settings.store).manifest(version))
    return Basis.of_manifest(read_manifest(settings.parent or default_bundle()))


def _basis(parent: Basis, settings: RetrainSettings, work: WorkFolder) -> Basis:
    """Return the newer of the parent and the last challenger, which the gate may not have judged yet.

    A challenger that was found unfit counts only if this retrain would make it in the same way (`_method`). If it
    never counted, each new game would lead to another unfit challenger as long as a trigger is met.
    """
    if (described := work.last) is None:
        return parent
    try:
        last = Basis.model_validate_json(described)
    except ValidationError as error:
        raise RetrainError(
            f"the last challenger's description in the work folder: {first_error(error)}; remove it"
        ) from error
    counts = last.unfit_by in {"", _method(settings)} and last.last_day >= parent.last_day
    return last if counts else parent


def _method(settings: RetrainSettings) -> str:
    """Return a hash of all inputs, except the games, that decide whether a challenger is made and published."""
    return digest_of(
        {
            "recipe": settings.recipe.digest,
            "seed": settings.seed,
            "calibration_games": settings.calibration_games,
            "test_seasons": settings.test_seasons,
            "test_games": settings.test_games,
            "allow_unfit": settings.allow_unfit,
            **_environment(),
        }
    )


def _backtest(
    settings: RetrainSettings, work: WorkFolder, games: Games, plan: SeasonPlan, progress: Progress
) -> Path | None:
    """Walk forward over the tested seasons, and return the file with the verdict; None if none can be tested."""
    if not plan.test:
        return None
    recipe, used = settings.recipe, games.select(games.season <= plan.test[-1])
    folder = work.path("folds", **_environment())
    folds = [Fold(recipe, season, plan.calibrate_seasons, settings.seed) for season in plan.test]
    result = work.path("backtest", folds=[fold.key(used) for fold in folds], **_environment())
    if result.exists():
        return result
    with progress.step("Backtest", len(plan.test)) as advance:
        scores = backtest(used, folds, folder, execution=settings.execution, advance=advance)
    method = RunProvenance(recipe.digest, settings.seed, used.fingerprint, used.fingerprints)
    write_atomic(result, json.dumps(document_of(result_of(scores, method))).encode())
    return result


def _fit(
    settings: RetrainSettings, work: WorkFolder, plan: SeasonPlan, due: Due, backtest: Path | None, progress: Progress
) -> Path:
    """Fit a bundle with the verdict of the backtest; return its folder."""
    lineage = LineageRecord(parent_version=due.parent, reason=due.reason, code_version=code_version()[:MAX_TEXT])
    used = due.read.of_seasons([*plan.train, *plan.calibrate])
    bundle = work.path(
        "bundle",
        games=used.fingerprint,
        plan=asdict(plan),
        recipe=settings.recipe.digest,
        seed=settings.seed,
        backtest=backtest.name if backtest else "",
        lineage=lineage.model_dump(),
        **_environment(),
    )
    if not bundle.exists():  # it is renamed into place whole
        pipeline.fit(
            used,
            train=plan.train,
            calibrate=plan.calibrate,
            out=bundle,
            seed=settings.seed,
            recipe=settings.recipe,
            backtest=backtest,
            progress=progress,
            lineage=lineage,
        )
    return bundle


def _environment() -> dict[str, Any]:
    """Return the identity of code and libraries, which determine a model together with games and settings."""
    return {"code": code_version(), "libraries": libraries()}
