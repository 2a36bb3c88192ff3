"""Follows the roster in the ledger: loads its models, and applies each change once its models are loaded.

Every worker of every server does so. A promotion is recorded only when all of them have loaded the model, so it takes
effect within milliseconds of reading its entry. The ledger refuses a forecast whose model was chosen before the change,
so a late worker does no harm. A ledger without a champion begins with the first bundle of the settings.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from dejavu_common.clock import utc_now, wait_until_set
from dejavu_common.failure_log import FailureLog
from dejavu_common.tasks import BackgroundTask
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerError
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_models.errors import DejavuError
from dejavu_server.coordination import model_workers
from dejavu_server.forecasting.lifecycle import replicas
from dejavu_server.forecasting.lifecycle.loader import ModelLoader
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import Replicas, Wish
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import ModelAction, ModelChange, Roster

POLL_SECONDS: Final = 1.0
"""Interval of the checks for changes without a notification of a commit."""

BURST_SECONDS: Final = 0.1
"""Pause after each read: commits of forecasts come in bursts, and few of them are changes of models."""

REPORT_SECONDS: Final = 10.0
"""Interval at which a worker repeats its report."""

START_SECONDS: Final = 60.0
"""Longest time that the start of a worker waits for the champion."""

FIRST_MODEL: Final = "first model"
"""Reason of the promotion of the first champion of a ledger."""

_log = structlog.get_logger(__name__)


class ChampionUnavailable(DejavuError, reason="CHAMPION_UNAVAILABLE"):
    """A worker cannot start because it cannot load the champion."""


class ModelFollower:
    """Loads and unloads the models of a worker as the roster requires.

    Args:
        ledger: the ledger.
        store: the bundles.
        models: the models.
        loader: loads them.
        bundles: folders of the bundles of the settings, for a ledger without a champion.
        name: server and worker, the names under which it reports.
        on_ready: called with whether the champion is loaded, when this changes.
        on_roster: called with the sequence of each change of models that is put in force.
        committed: set by the ledger's owner after every commit that may have added more than forecasts.

    Attributes:
        newest: the newest roster that was read; the one in force may be older while models are loaded.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        store: ModelStore,
        models: ServingModels,
        loader: ModelLoader,
        *,
        bundles: Sequence[Path],
        name: tuple[str, str],
        on_ready: Callable[[bool], None] = lambda _: None,
        on_roster: Callable[[int], None] = lambda _: None,
        committed: asyncio.Event | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._models = models
        self._loader = loader
        self._bundles = bundles
        self._server, self._worker = name
        self._on_ready = on_ready
        self._on_roster = on_roster
        self._committed = committed or asyncio.Event()
        self.newest = Roster()
        self._roster = KnownRoster()
        self._workers: Sequence[Replicas] = ()
        self._error: Exception | None = None
        self._gave_bundles = False
        self._reports = True
        self._reported = ("", -REPORT_SECONDS)
        self._ready: bool | None = None
        self._pass = asyncio.Lock()
        self._loading = BackgroundTask()
        self._is_loading = False
        self._following = ""
        self._task = BackgroundTask()
        self._settled = asyncio.Event()
        self._failure_log = FailureLog(_log, failed="models_not_followed", recovered="models_followed")
        models.follow = self.follow

    @property
    def is_ready(self) -> bool:
        """Whether the champion is loaded."""
        return self._models.is_loaded(self.newest.champion)

    async def start(self) -> None:
        """Follow the roster in a task; return once the champion is loaded.

        It also returns while the ledger cannot be read: the worker is not ready then.

        Raises:
            ChampionUnavailable: if it cannot be loaded.
        """
        self._set_ready()
        self._task.start(self._run(), "model-follower")
        await wait_until_set(self._settled, START_SECONDS)
        if self.is_ready or isinstance(self._error, LedgerError):
            return
        causes = [f"{version}: {failure.error}" for version, failure in self._models.failures.items()]
        if self._error is not None:
            causes.append(str(self._error))
        cause = "; ".join(causes) or f"it takes longer than {START_SECONDS:g} s"
        way_out = "repair the model store, or roll back with the release that loaded them"
        raise ChampionUnavailable(f"the champion cannot be loaded: {cause}; {way_out}") from self._error

    async def stop_reporting(self) -> None:
        """Withdraw the report of a draining worker, so that no change waits for it; it continues to follow."""
        self._reports = False
        try:
            await self._ledger().write(partial(model_workers.withdraw, server=self._server, worker=self._worker))
        except DejavuError as error:  # it expires
            _log.warning("report_not_withdrawn", error=str(error))

    async def close(self) -> None:
        """Stop following. Safe to call more than once."""
        await self._task.end()
        await self._loading.end()

    async def follow(self) -> bool:
        """Read the roster and put it in force if its models are loaded; return whether the newest roster is in force.

        Raises:
            DejavuError: if the ledger can't be read or written at present.
        """
        async with self._pass:
            roster, self._workers, wishes = await self._ledger().read(self._read)
            if roster is not self.newest:
                self.newest = roster
                _log.debug("roster", sequence=self.newest.sequence, champion=self.newest.champion)
            if not self.newest.champion:
                first = await asyncio.to_thread(_put_first, self._store, self._bundles)
                self.newest = await _promote_first(self._ledger, first)
            elif not self._ready and not self._gave_bundles:
                self._gave_bundles = True
                await asyncio.to_thread(_put_known, self._store, self._bundles, self.newest)
            self._switch()
            self._load(self._followed(wishes))
            self._set_ready()
            return self._models.roster is self.newest

    def _read(self, connection: Connection) -> tuple[Roster, Sequence[Replicas], Mapping[str, Wish]]:
        with sql.snapshot(connection):
            return self._roster.read(connection), *replicas.live(connection)

    def _switch(self) -> None:
        if self._models.roster is self.newest or not self.is_ready:
            return
        before = self._models.roster
        self._models.switch(self.newest)
        self._on_roster(self.newest.sequence)
        if before.champion != self.newest.champion:
            _log.info("champion", model=self.newest.champion, was=before.champion, sequence=self.newest.sequence)

    def _followed(self, wishes: Mapping[str, Wish]) -> Mapping[str, str]:
        """Return the tokens of the wishes to follow, by version, except wishes that have ended a worker.

        A worker that does not report ignores wishes to load: if a load ended its process, the cause would be unknown.
        """
        if not self._reports:
            return {}
        ended = {each.following for each in self._dead(self._workers)}
        return {version: wish.token for version, wish in wishes.items() if not wish.error and wish.token not in ended}

    def _load(self, wishes: Mapping[str, str]) -> None:
        """Begin to load the next wanted model, unless one is being loaded; unload unwanted ones."""
        wanted = dict.fromkeys((*self.newest.loaded[:1], *wishes, *self.newest.loaded))
        self._loader.forget_failures(wanted)
        kept = {*wanted, self._models.roster.champion}
        self._loader.unload([version for version in self._models.versions if version not in kept])
        if self._is_loading:
            return
        for version in wanted:
            if self._loader.is_due(version, wishes.get(version, "")):
                self._is_loading = True
                self._loading.start(self._load_one(version, wishes.get(version, "")), f"load-{version}")
                return

    async def _load_one(self, version: str, wish: str) -> None:
        self._following = wish
        try:
            if wish:
                await self._report()  # before the load, which may end this process
            await self._loader.load(version, wish)
        except DejavuError as error:
            _log.warning("model_not_loaded", model=version, error=str(error), effect="it is tried again")
        finally:
            self._following, self._is_loading = "", False
            self._committed.set()  # read again

    def _set_ready(self) -> None:
        if self._ready != self.is_ready:
            self._ready = self.is_ready
            self._on_ready(self._ready)
        if self._ready or self.newest.champion in self._models.failures:
            self._settled.set()

    async def _report(self) -> None:
        """Write the report if it changed or is due, and remove the reports of dead workers of this server."""
        if not self._reports:
            return
        own = Replicas(
            self._server,
            self._worker,
            os.getpid(),
            frozenset(self._models.versions),
            self._models.failures,
            self._models.roster.sequence,
            self._following,
        )
        state, now = own.state(), time.monotonic()
        if state != self._reported[0] or now - self._reported[1] >= REPORT_SECONDS:
            await self._ledger().write(
                partial(model_workers.report, server=self._server, worker=self._worker, state=state)
            )
            self._reported = (state, now)
        await self.remove_dead(self._workers)

    async def remove_dead(self, workers: Sequence[Replicas]) -> None:
        """Remove the reports of workers of this server whose processes have ended without withdrawing them."""
        if dead := self._dead(workers):
            await self._ledger().write(partial(replicas.remove_dead, dead=dead))

    def _dead(self, workers: Sequence[Replicas]) -> list[Replicas]:
        return [each for each in workers if each.server == self._server and not _is_alive(each.pid)]

    async def _run(self) -> None:
        while True:
            wait = POLL_SECONDS if await self._try() else 2 * POLL_SECONDS
            await asyncio.sleep(BURST_SECONDS)
            await wait_until_set(self._committed, wait)

    async def _try(self) -> bool:
        self._committed.clear()  # before reading, so that a later change triggers another read
        try:
            await self.follow()
            await self._report()
        except Exception as error:
            expected = isinstance(error, DejavuError)
            self._error = error
            self._settled.set()
            self._failure_log.failed(error, traceback=not expected, effect="the models stay as they are")
            return False
        self._error = None
        self._failure_log.succeeded()
        return True


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _put_first(store: ModelStore, bundles: Sequence[Path]) -> str:
    """Store the first of some bundles, unless it is stored; return its version.

    Raises:
        DejavuError: if the bundle cannot be read or stored.
    """
    version = read_manifest(bundles[0]).version
    if not store.is_complete(version):
        store.put(bundles[0])
        _log.info("bundle_stored", model=version, bundle=str(bundles[0]))
    return version


def _put_known(store: ModelStore, bundles: Sequence[Path], roster: Roster) -> None:
    """Store the bundles that the roster knows and the store lacks: each server may have a store of its own.

    A failure to read or store a bundle is only logged: the store may already have it.
    """
    for folder in bundles:
        try:
            version = read_manifest(folder).version
            if version in roster.stages and not store.is_complete(version):
                store.put(folder)
                _log.info("bundle_stored", model=version, bundle=str(folder))
        except DejavuError as error:
            _log.warning("bundle_not_stored", bundle=str(folder), reason=str(error))


async def _promote_first(ledger: CurrentLedger, version: str) -> Roster:
    """Make a model the first champion, unless there is a champion by now; return the roster after it."""
    register = ModelChange(ModelAction.REGISTER, version, utc_now(), reason=FIRST_MODEL)
    promote = replace(register, action=ModelAction.PROMOTE)
    await ledger().change_models(lambda *_: register)
    roster, change = await ledger().change_models(
        lambda _, roster: replace(promote, model_version=roster.champion) if roster.champion else promote
    )
    if change is not None:
        _log.info("first_model", model=version, sequence=change.sequence)
    return roster
