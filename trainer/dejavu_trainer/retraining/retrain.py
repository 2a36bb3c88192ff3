"""Makes and publishes a challenger, step by step.

    gather → triggers → check → backtest → fit → judge → publish to a store, a server, MLflow

The result of each step is in the work folder under the hash of its inputs. So a retrain that was killed at any moment
continues, and ends with the same model version as an undisturbed one: training is deterministic, and everything outside
the work folder changes in one repeatable step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dejavu_common.files import write_atomic
from dejavu_models.manifest import MAX_TEXT, LineageRecord
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.registry import default_bundle
from dejavu_trainer.client import serving_model
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Progress
from dejavu_trainer.lineage import code_version, libraries
from dejavu_trainer.publish import publish_bundle
from dejavu_trainer.retraining.drift import drifts
from dejavu_trainer.retraining.settings import Challenger, Due, RetrainSettings, SeasonPlan, plan_seasons
from dejavu_trainer.retraining.sources import games_to_bytes, gather, problems
from dejavu_trainer.retraining.triggers import Basis, Trigger, TriggerKind, server_coverages, standing_triggers
from dejavu_trainer.retraining.work_folder import RetrainError, WorkFolder, open_work_folder
from dejavu_trainer.tracking import MlflowTracker, TrackedRun, manifest_document


class GamesRefused(RetrainError):
    """The games have problems that were not accepted."""


class ChallengerUnfit(RetrainError):
    """The recipe failed its backtest on these games, so that its model is not published."""


class Retrain:
    """A retrain in its work folder. Create it with `open_retrain`.

    Args:
        settings: settings of the retrain.
        work: its work folder, which no other process uses.
        progress: receives progress updates.
    """

    def __init__(self, settings: RetrainSettings, work: WorkFolder, progress: Progress | None = None) -> None:
        self._settings = settings
        self._work = work
        self._progress = progress or Progress()
        self._read: tuple[Games, Basis] | None = None

    def due(self) -> Due:
        """Read the games and decide whether a new model is due.

        Raises:
            DataError: if a source can't be read.
            CallFailed: if the server does not answer.
            BundleError: if the parent cannot be read.
        """
        settings = self._settings
        with self._progress.step("Read the games", 1) as advance:
            games, sources = gather(
                settings.sources, self._work, seasons=settings.seasons, include_replays=settings.include_replays
            )
            advance(1)
        parent = self._parent()
        basis = self._basis(parent)
        self._read = games, basis
        coverages = server_coverages(settings.server, parent.model_version) if settings.server else []
        today = settings.today() if settings.today else datetime.now(UTC).date()
        triggers = standing_triggers(games, basis, coverages, settings.triggers, today)
        if settings.reason:
            triggers.append(Trigger(TriggerKind.ASKED_FOR, settings.reason, settings.reason))
        newer, last = len(basis.newer(games)), self._work.last or {}
        unfit = "unfit_by" in last and last["model_version"] == basis.model_version
        return Due(tuple(triggers), parent.model_version, basis.model_version, tuple(sources), len(games), newer, unfit)

    def run(self, due: Due) -> Challenger:
        """Make a challenger from the games that `due` has read, and publish it.

        Args:
            due: the result of `due`; its triggers become the reason in the lineage.

        Raises:
            DataError: if there are too few games.
            GamesRefused, ChallengerUnfit: if the games or the model are refused; nothing is published.
            CallFailed: if the server refuses the bundle or does not answer.
            TrackingError: if MLflow refuses the bundle or does not answer.
            DejavuError: if the store refuses the bundle or fails.
            FitError: if the LSTM can't be fitted.
        """
        if self._read is None:
            raise ValueError("run comes after due, which reads the games")
        (games, basis), work, settings = self._read, self._work, self._settings
        seasons, counts = np.unique(games.season, return_counts=True)
        plan = plan_seasons(
            dict(zip(seasons.tolist(), counts.tolist(), strict=True)),
            calibration_games=settings.calibration_games,
            test_seasons=settings.test_seasons,
            test_games=settings.test_games,
        )
        found = self._check(games, basis)
        snapshot = work.path(f"games-{work.key(games=games.fingerprint)}.npz")
        if not snapshot.exists():
            write_atomic(snapshot, games_to_bytes(games))
        backtest = self._backtest(games, plan)
        bundle = self._fit(games, plan, due, backtest)
        manifest = read_manifest(bundle)
        made = {**Basis.of_manifest(manifest).document(), "reason": due_reason(due), "parent": due.parent}
        if not (manifest.verdict.fit or settings.allow_unfit):
            work.finish({**made, "unfit_by": self._method()})
            raise ChallengerUnfit(
                f"model {manifest.version} is unfit and was not published: {manifest.verdict.reason}"
                f" It stays in {bundle}"
            )
        tracked = self._publish(bundle)
        challenger = Challenger(
            due, bundle, manifest.version, asdict(plan), manifest.verdict.model_dump(mode="json"), found, tracked
        )
        work.finish(made)
        return challenger

    def _parent(self) -> Basis:
        settings = self._settings
        if settings.parent is not None or not settings.server:
            return Basis.of_manifest(read_manifest(settings.parent or default_bundle()))
        model = serving_model(settings.server)
        store = ModelStore.open(settings.store) if settings.store else None
        if store is not None and store.has(str(model["version"])):
            return Basis.of_manifest(store.manifest(str(model["version"])))
        return Basis.of_server_model(model)

    def _basis(self, parent: Basis) -> Basis:
        """Return the newer of the parent and the last challenger, which the gate may not have judged yet.

        A challenger that was found unfit counts only if this retrain would make it in the same way (`_method`). If it
        never counted, each new game would lead to another unfit challenger as long as a trigger is met.
        """
        last = self._work.last
        if last is None or last.get("unfit_by", self._method()) != self._method():
            return parent
        made = Basis.of_document(last)
        return made if made.last_day >= parent.last_day else parent

    def _method(self) -> str:
        """Return a hash of all inputs, except the games, that decide whether a challenger is made and published."""
        settings = self._settings
        return self._work.key(
            recipe=settings.recipe.digest,
            seed=settings.seed,
            calibration_games=settings.calibration_games,
            test_seasons=settings.test_seasons,
            test_games=settings.test_games,
            allow_unfit=settings.allow_unfit,
            **_environment(),
        )

    def _check(self, games: Games, basis: Basis) -> list[dict[str, Any]]:
        """Refuse games with problems, and return the drifts of the newer games from those of the basis.

        Raises:
            GamesRefused: if there are problems that are not accepted.
        """
        key = self._work.key(step="check", games=games.fingerprint, basis=basis.document(), code=code_version())

        def check() -> dict[str, Any]:
            return {
                "problems": [{"kind": each.kind.value, "message": each.message} for each in problems(games)],
                "drift": [asdict(each) for each in drifts(basis.known(games), basis.newer(games))],
            }

        document = self._work.document(f"check-{key}.json", check)
        accepted = {kind.value for kind in self._settings.accepted}
        refused = [each for each in document["problems"] if each["kind"] not in accepted]
        if refused:
            listed = "; ".join(f"{each['kind']}: {each['message']}" for each in refused)
            raise GamesRefused(f"the games are not as expected, and no model was made of them: {listed}")
        return list(document["drift"])

    def _backtest(self, games: Games, plan: SeasonPlan) -> Path | None:
        """Walk forward over the tested seasons, and return the file with the verdict; None if none can be tested."""
        if not plan.test:
            return None
        # Imported late: they load torch.
        from dejavu_trainer.evaluation.backtest import Fold, backtest
        from dejavu_trainer.evaluation.result import RunProvenance, result_of, to_json

        settings, work, recipe = self._settings, self._work, self._settings.recipe
        used = games.select(games.season <= plan.test[-1])
        folder = work.path(f"folds-{work.key(**_environment())}")
        folds = [Fold(recipe, season, plan.calibrate_seasons, settings.seed) for season in plan.test]
        key = work.key(step="backtest", folds=[fold.key(used) for fold in folds], **_environment())
        result = work.path(f"backtest-{key}.json")
        if result.exists():
            return result
        with self._progress.step("Backtest", len(plan.test)) as advance:
            scores = backtest(
                used,
                plan.test,
                recipe,
                folder,
                calibrate_seasons=plan.calibrate_seasons,
                seed=settings.seed,
                execution=settings.execution,
                advance=advance,
            )
        method = RunProvenance(recipe.digest, settings.seed, used.fingerprint, used.fingerprints)
        write_atomic(result, to_json(result_of(scores, method)).encode())
        return result

    def _fit(self, games: Games, plan: SeasonPlan, due: Due, backtest: Path | None) -> Path:
        """Fit a bundle with the verdict of the backtest; return its folder."""
        from dejavu_trainer import pipeline

        settings, work = self._settings, self._work
        lineage = LineageRecord(
            parent_version=due.parent, reason=due_reason(due), code_version=code_version()[:MAX_TEXT]
        )
        used = games.of_seasons([*plan.train, *plan.calibrate])
        key = work.key(
            step="fit",
            games=used.fingerprint,
            train=plan.train,
            calibrate=plan.calibrate,
            recipe=settings.recipe.digest,
            seed=settings.seed,
            backtest=backtest.name if backtest else "",
            lineage=lineage.model_dump(),
            **_environment(),
        )
        bundle = work.path(f"bundle-{key}")
        if not bundle.exists():  # it is renamed into place whole
            pipeline.fit(
                used,
                train=plan.train,
                calibrate=plan.calibrate,
                out=bundle,
                seed=settings.seed,
                recipe=settings.recipe,
                backtest=backtest,
                progress=self._progress,
                execution=settings.execution,
                lineage=lineage,
            )
        return bundle

    def _publish(self, bundle: Path) -> TrackedRun | None:
        """Publish a bundle to all targets, completely or not at all to each; publishing it again changes nothing."""
        settings = self._settings
        with self._progress.step("Publish", 2) as advance:
            if settings.store:
                publish_bundle(bundle, store=settings.store, server=settings.server, allow_unfit=settings.allow_unfit)
            advance(1)
            if not settings.mlflow:
                return None
            return MlflowTracker(settings.mlflow).register(bundle, manifest_document(bundle))


@contextmanager
def open_retrain(settings: RetrainSettings, progress: Progress | None = None) -> Iterator[Retrain]:
    """Open the work folder of a retrain, for one process at a time.

    Raises:
        RetrainRunning: if another process uses it.
        OSError: if it can't be made.
    """
    with open_work_folder(settings.work) as work:
        yield Retrain(settings, work, progress)


def due_reason(due: Due) -> str:
    """Return the reason for the lineage: the triggers, without figures."""
    return "; ".join(trigger.reason for trigger in due.triggers)[:MAX_TEXT]


def _environment() -> dict[str, Any]:
    """Return the identity of code and libraries, which determine a model together with games and settings."""
    return {"code": code_version(), "libraries": libraries()}
