"""Model changes, independent of gRPC: their preconditions, and waiting until they are in force.

A model is staged or promoted only while every live worker of the ledger reports it as loaded; the transaction that
records the change checks this again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from dejavu_common.clock import utc_now
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_models.comparison import GateDecision, Judgement
from dejavu_models.errors import DejavuError
from dejavu_server.forecasting.lifecycle import replicas
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate, evidence_of
from dejavu_server.forecasting.lifecycle.follower import ModelFollower
from dejavu_server.forecasting.lifecycle.lifecycle_errors import ModelLoadFailed, NotProven
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_server.limits import SERVER, Caller, DeadlineExceeded
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import ModelAction, ModelChange, Roster, WrongStage

ATTEMPTS: Final = 5
"""Number of attempts at a change while workers join or the champion changes."""

LOAD_SECONDS: Final = 55.0
"""Longest time to wait until all workers have a model: less than the server's deadline for calls without one."""

FOLLOW_SECONDS: Final = 3.0
"""Longest time to wait until a recorded change is in force in all workers."""

_LOOK_SECONDS: Final = 0.05
_WISH_SECONDS: Final = 5.0
"""Interval at which a wish is repeated; it expires after half a minute without repetition."""


class ModelLifecycle:
    """Controls which models are staged, and which one is the champion.

    Args:
        ledger: records the changes.
        store: has the bundles.
        models: the models of this worker.
        follower: puts changes in force in this worker.
        judge: judges promotions.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        store: ModelStore,
        models: ServingModels,
        follower: ModelFollower,
        judge: LedgerGate,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._models = models
        self._follower = follower
        self._judge = judge
        self._roster = KnownRoster()
        self._verifying = asyncio.Lock()  # one at a time: each takes seconds of a core

    async def roster(self) -> Roster:
        """Return the current roster of the ledger.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        return await self._ledger().read(self._roster.read)

    async def replicas(self) -> list[Replicas]:
        """Return the live workers of the ledger, with their loaded models.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        workers, _ = await self._ledger().read(replicas.live)
        return workers

    async def load(self, version: str, reason: str = "", caller: Caller = SERVER) -> ModelChange | None:
        """Stage a model once every worker has it loaded; return the change, or None if it was staged already.

        A model that is not registered is registered too, if its bundle is in the store and sound.

        Raises:
            NotRegistered, WrongStage, TooManyChallengers, InvalidReason: if that is not possible.
            BundleNotFound: if its bundle is not in the store.
            BundleError: if its bundle cannot be used, or may not be loaded here.
            CallerLimit: if the caller may make no further change of models today.
            ModelLoadFailed: if a worker cannot load it.
            DeadlineExceeded: if a worker does not answer.
            LedgerError: if it cannot be recorded.
        """
        change = ModelChange(ModelAction.LOAD, version, utc_now(), reason=reason)
        register = replace(change, action=ModelAction.REGISTER)
        roster = await self.roster()
        is_new = version not in roster.stages
        if is_new:
            roster = roster.after(register)
        if roster.changes_nothing(change):
            return None
        roster.check(change)
        self._store.check_allowed(await asyncio.to_thread(self._store.manifest, version))
        if is_new:
            caller.check_model_change()  # before the work of a verification
            async with self._verifying:
                await asyncio.to_thread(self._store.verify, version)
        return await self._with_all_workers(
            version, lambda roster: change if version in roster.stages else register, caller
        )

    async def promote(
        self, name: str, reason: str = "", caller: Caller = SERVER, *, force: bool = False
    ) -> tuple[str, ModelChange | None]:
        """Make a model the champion on all workers, from one position of the ledger on.

        Args:
            name: its version or alias.
            reason: reason to record, for people.
            caller: the caller.
            force: whether to promote it without evidence.

        Returns:
            Its version, and the change (None if it was the champion already).

        Raises:
            NotRegistered, WrongStage, InvalidReason: if that is not possible.
            NotProven: if the evidence does not suffice, and it is not forced.
            ModelLoadFailed, DeadlineExceeded: if a worker does not have it loaded.
            LedgerError: if it cannot be recorded.
        """

        async def prepare(roster: Roster) -> tuple[str, ModelChange | None]:
            version = roster.version_of(name)
            change = ModelChange(ModelAction.PROMOTE, version, utc_now(), reason=reason)
            if roster.changes_nothing(change):
                return version, None
            roster.check(change)
            if not roster.champion:
                return version, change
            found = await self._judgement(version, roster, forced=force)
            allowed = found.decision is GateDecision.PROMOTE
            if not (allowed or force):
                raise NotProven(f"model {version} is not proven against {roster.champion}: {found.reason}")
            return version, replace(change, forced=not allowed, evidence=evidence_of(found, roster.champion))

        return await self._change_champion(prepare, caller)

    async def _judgement(self, version: str, roster: Roster, *, forced: bool) -> Judgement:
        """Judge a model; if that fails, a forced promotion continues."""
        try:
            return await self._judge.judgement(version, roster.champion, anchor=roster.anchor)
        except DejavuError:
            if not forced:
                raise
            return Judgement(GateDecision.CONTINUE, "")

    async def rollback(
        self, from_version: str = "", reason: str = "", caller: Caller = SERVER
    ) -> tuple[str, ModelChange | None]:
        """Make the previous model the champion again.

        Args:
            from_version: the champion to be replaced; empty: the current one.
            reason: reason to record, for people.
            caller: the caller.

        Returns:
            The version of the champion, and the change (None if `from_version` was not the champion any more).

        Raises:
            NotRegistered, WrongStage, InvalidReason: if that is not possible.
            ModelLoadFailed, DeadlineExceeded: if a worker does not have the previous model loaded.
            LedgerError: if it cannot be recorded.
        """

        async def prepare(roster: Roster) -> tuple[str, ModelChange | None]:
            if from_version:
                roster.stage_of(from_version)
                if from_version != roster.champion:
                    return roster.champion, None
            if not roster.previous:
                raise WrongStage("there is no previous model to return to; expected a promotion before")
            change = ModelChange(ModelAction.ROLLBACK, roster.previous, utc_now(), reason=reason)
            roster.check(change)
            return roster.previous, change

        return await self._change_champion(prepare, caller)

    async def _change_champion(
        self, prepare: Callable[[Roster], Awaitable[tuple[str, ModelChange | None]]], caller: Caller
    ) -> tuple[str, ModelChange | None]:
        """Record a change of the champion; prepare it again if the champion changes in between.

        Args:
            prepare: returns the version that is to be the champion, and the change; None if there is nothing to change.
            caller: the caller.
        """
        for _ in range(ATTEMPTS):
            roster = await self.roster()
            version, change = await prepare(roster)
            if change is None:
                return version, None
            judged = partial(_judged, change=change, champion=roster.champion)
            try:
                return version, await self._with_all_workers(version, judged, caller)
            except WrongStage:
                if (await self.roster()).champion == roster.champion:
                    raise
        raise WrongStage("the champion changed during each attempt at this change; expected it to stay the same")

    async def remove(
        self, name: str, action: ModelAction, reason: str = "", caller: Caller = SERVER
    ) -> tuple[str, ModelChange | None]:
        """Unload or retire a model; return its version, and the change (None if that was done already).

        Raises:
            NotRegistered, ModelInUse, WrongStage, InvalidReason: if that is not possible.
            LedgerError: if it cannot be recorded.
        """
        version = (await self.roster()).version_of(name)
        change = ModelChange(action, version, utc_now(), reason=reason)
        return version, await self._record(lambda *_: change, caller)

    async def _with_all_workers(
        self, version: str, prepare: Callable[[Roster], ModelChange], caller: Caller
    ) -> ModelChange | None:
        """Record a change while all live workers have a model loaded; after a registration also the next change."""
        began = time.monotonic()

        def change(connection: Connection, roster: Roster) -> ModelChange:
            prepared = prepare(roster)
            if not roster.changes_nothing(prepared):
                workers, _ = replicas.live(connection)
                if not all(version in each.loaded for each in workers):
                    raise ModelLoadFailed(f"a worker has not loaded model {version}")
            return prepared

        async with self._wish(version) as token:
            while True:
                await self._loaded_everywhere(version, token, LOAD_SECONDS - (time.monotonic() - began))
                try:
                    recorded = await self._record(change, caller)
                except ModelLoadFailed:
                    continue  # a worker joined between the check and the transaction
                if recorded is None or recorded.action is not ModelAction.REGISTER:
                    return recorded

    async def _record(self, prepare: Callable[[Connection, Roster], ModelChange], caller: Caller) -> ModelChange | None:
        """Record a change; wait until it is in force here, and for a limited time in the other workers."""

        def by_caller(connection: Connection, roster: Roster) -> ModelChange:
            return replace(prepare(connection, roster), changed_by=caller.identity)

        _, recorded = await self._ledger().change_models(by_caller, caller)
        if recorded is not None:
            await self._models.wait_for(recorded.sequence)
            await self._followed_everywhere(recorded.sequence)
        return recorded

    @asynccontextmanager
    async def _wish(self, version: str) -> AsyncIterator[str]:
        """Ask all workers to load a model, until the end of the block; yield the token of the wish."""
        token = await self._ledger().write(partial(replicas.wish, version=version))
        repeating = asyncio.create_task(self._repeat_wish(version, token), name=f"wish-{version}")
        try:
            yield token
        finally:
            repeating.cancel()
            await asyncio.wait([repeating])
            with contextlib.suppress(DejavuError):  # it expires
                await self._ledger().write(partial(replicas.withdraw_wish, version=version))

    async def _repeat_wish(self, version: str, token: str) -> None:
        while True:
            await asyncio.sleep(_WISH_SECONDS)
            with contextlib.suppress(DejavuError):
                await self._ledger().write(partial(replicas.wish, version=version, token=token))

    async def _loaded_everywhere(self, version: str, token: str, seconds: float) -> None:
        """Wait until all live workers have a model loaded.

        Raises:
            ModelLoadFailed: if a worker could not load the model since the wish, or ended while loading it.
            DeadlineExceeded: if a worker does not report in time.
        """
        missing: list[Replicas] = []
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                while True:
                    workers, wishes = await self._ledger().read(replicas.live)
                    wish = wishes.get(version)
                    if wish is not None and wish.token == token and wish.error:
                        raise ModelLoadFailed(wish.error)
                    await self._follower.remove_dead(workers)
                    for each in workers:
                        failure = each.failed.get(version)
                        if failure is not None and failure.wish == token:
                            where = f"worker {each.worker} of server {each.server}"
                            raise ModelLoadFailed(f"{where} cannot load model {version}: {failure.error}")
                    missing = [each for each in workers if version not in each.loaded]
                    if workers and not missing:
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise DeadlineExceeded(f"not loaded in time by worker {_names(missing)}; nothing was changed") from None

    async def _followed_everywhere(self, sequence: int) -> None:
        """Wait until a change of models is in force in all live workers, FOLLOW_SECONDS at most.

        Named forecasts need no such wait: the ledger refuses those of outdated models. The wait is for what-ifs and
        aliases.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                while True:
                    workers, _ = await self._ledger().read(replicas.live)
                    if all(each.roster_sequence >= sequence for each in workers):
                        return
                    await self._follower.remove_dead(workers)
                    await asyncio.sleep(_LOOK_SECONDS)


def _names(workers: Sequence[Replicas]) -> str:
    return ", ".join(f"{each.worker} of server {each.server}" for each in workers[:3]) or "any"


def _judged(roster: Roster, change: ModelChange, champion: str) -> ModelChange:
    """Return a change that was judged while a certain model was the champion.

    Raises:
        WrongStage: if another model is the champion.
    """
    if roster.champion != champion and not roster.changes_nothing(change):
        raise WrongStage(f"the champion is {roster.champion}; expected {champion}")
    return change
