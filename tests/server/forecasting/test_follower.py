"""Workers follow the roster of one ledger: each loads what it names, and a change waits until all have it loaded."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until
from typing_extensions import override

from dejavu.v1 import model_service_pb2 as pb
from dejavu_ledger import Ledger
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerUnavailable, ModelsChanged
from dejavu_ledger.ledger import MODEL_CHANGE
from dejavu_models.comparison import GateDecision, Judgement
from dejavu_models.errors import BundleCorrupt, BundleNotFound
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import Manifest
from dejavu_models.types import AdaptationMode
from dejavu_server.access.policy import CallKind
from dejavu_server.api.model_service import ModelService, StoredModels
from dejavu_server.coordination import model_workers
from dejavu_server.forecasting.lifecycle import changes as changes_module
from dejavu_server.forecasting.lifecycle import models as module
from dejavu_server.forecasting.lifecycle import replicas
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.follower import ChampionUnavailable, ModelFollower
from dejavu_server.forecasting.lifecycle.lifecycle_errors import ModelLoadFailed, NotLoaded, NotProven
from dejavu_server.forecasting.lifecycle.loader import ModelLoader
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import LoadFailure, Replicas
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.limits import MODEL_CHANGES, Caller, CallerLimit, DeadlineExceeded, Limits
from dejavu_server.settings import Settings
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle
from dejavu_store.stages import ModelAction, ModelChange, ModelStage, Roster

FIRST = read_manifest(default_bundle()).version
"""Version of the bundle with which a ledger without a champion begins."""


class ModelsInMemory(ModelStore):
    """A store of PersistenceForecasters.

    Args:
        versions: versions that it has.

    Attributes:
        broken: versions that cannot be loaded.
    """

    def __init__(self, *versions: str) -> None:
        self._versions = set(versions)
        self.broken = set[str]()

    @override
    def load(self, version: str) -> Forecaster:
        """Return a model; raise BundleCorrupt if it is broken."""
        self.manifest(version)
        if version in self.broken:
            raise BundleCorrupt(f"model {version}: lstm.npz does not match the manifest")
        return PersistenceForecaster(version)

    @override
    def manifest(self, version: str) -> Manifest:
        """Return the manifest of the shipped bundle, with another version."""
        if version not in self._versions:
            raise BundleNotFound(f"no model {version}")
        return read_manifest(default_bundle()).model_copy(update={"version": version})

    @override
    def manifest_sha256(self, version: str) -> str:
        """Return 64 zeros."""
        self.manifest(version)
        return "0" * 64

    @override
    def check_allowed(self, manifest: Manifest, source: str = "") -> None:
        """Accept every bundle."""

    @override
    def verify(self, version: str) -> None:
        """Accept a version that it has."""
        self.manifest(version)

    @override
    def is_complete(self, version: str) -> bool:
        """Return whether it has a version."""
        return version in self._versions

    @override
    def put(self, folder: Path) -> bool:
        """Take in the version of a bundle."""
        self._versions.add(read_manifest(folder).version)
        return True


NOW = datetime(2026, 1, 2, tzinfo=UTC)


def roster_of(*changes: tuple[ModelAction, str]) -> Roster:
    roster = Roster()
    for sequence, (action, version) in enumerate(changes, 1):
        roster = roster.after(ModelChange(action, version, NOW, sequence=sequence))
    return roster


CHAMPION_AND_CHALLENGER = (
    (ModelAction.REGISTER, "old"),
    (ModelAction.PROMOTE, "old"),
    (ModelAction.REGISTER, "new"),
    (ModelAction.LOAD, "new"),
    (ModelAction.REGISTER, "idle"),
)


@pytest.fixture
def models() -> ServingModels:
    serving = ServingModels()
    for version in ("new", "old"):
        serving.add(PersistenceForecaster(version))
    serving.switch(roster_of(*CHAMPION_AND_CHALLENGER))
    return serving


def test_a_model_that_could_not_be_loaded_says_why(models: ServingModels) -> None:
    models.failures["idle"] = LoadFailure("", "its files are damaged")
    with pytest.raises(NotLoaded, match="loaded: old, new; model idle cannot be loaded: its files are damaged"):
        models.get("idle")


def test_what_names_the_answering_models_changes_with_them_and_with_nothing_else(models: ServingModels) -> None:
    before, changes = models.token, (*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"))
    models.switch(roster_of(*changes))
    promoted = models.token
    models.switch(roster_of(*changes, (ModelAction.REGISTER, "old")))
    assert models.token == promoted != before


async def test_a_call_waits_until_the_change_is_in_force_and_not_for_ever(
    models: ServingModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    looks = []
    promoted = roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"))

    async def follow() -> bool:
        looks.append(1)
        if len(looks) == 2:
            models.switch(promoted)
        return len(looks) == 2

    models.follow = follow
    await models.wait_for(models.roster.sequence)
    assert looks == []
    await models.wait_for(promoted.sequence)
    assert models.choose().forecaster.version == "new"
    with pytest.raises(ModelsChanged):
        await asyncio.wait_for(models.wait_for(99), 10)
    with pytest.raises(LedgerUnavailable):
        ServingModels().choose()  # it has no roster yet


class Verdict(LedgerGate):
    """A judge with a fixed verdict."""

    def __init__(self, *, allowed: bool) -> None:
        self.decision = GateDecision.PROMOTE if allowed else GateDecision.CONTINUE

    @override
    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        return Judgement(self.decision, "E 3.1 of 20 after 12 games", games=12)


class Node:
    """A worker that follows the roster, without a server."""

    def __init__(self, ledger: Ledger, store: ModelsInMemory, name: str, *, judge: LedgerGate | None = None) -> None:
        self.store = store
        self.ready: list[bool] = []
        self.rosters: list[int] = []
        self.failures = 0
        self.models = ServingModels()
        committed = asyncio.Event()
        ledger.listen(committed)
        updater = OnlineUpdater(lambda: ledger, [], mode=AdaptationMode.SHADOW)
        self.loader = ModelLoader(store, self.models, updater, lambda _: None, self._count_failure)
        self.follower = ModelFollower(
            lambda: ledger,
            store,
            self.models,
            self.loader,
            bundles=(default_bundle(),),
            name=("host:1", name),
            on_ready=self.ready.append,
            on_roster=self.rosters.append,
            committed=committed,
        )
        self.changes = ModelLifecycle(lambda: ledger, store, self.models, self.follower, judge or Verdict(allowed=True))

    def _count_failure(self) -> None:
        self.failures += 1

    @property
    def champion(self) -> str:
        return self.models.choose().forecaster.version


@asynccontextmanager
async def started(node: Node) -> AsyncIterator[Node]:
    try:
        await node.follower.start()
        yield node
    finally:
        await node.follower.close()


@pytest.fixture
async def nodes(ledger: Ledger) -> AsyncIterator[tuple[Node, Node]]:
    one, other = (Node(ledger, ModelsInMemory("b", "c"), name) for name in "01")
    async with started(one), started(other):
        yield one, other


async def test_a_bundle_that_one_worker_cannot_load_changes_nothing(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    other.store.broken.add("b")
    before = await one.changes.roster()
    for _ in range(2):
        with pytest.raises(ModelLoadFailed, match=r"worker 1 of server host:1 cannot load model b: .*lstm\.npz"):
            await one.changes.load("b")
    assert await one.changes.roster() == before
    assert (one.failures, other.failures) == (0, 2)
    await until(lambda: one.models.versions == (FIRST,))
    other.store.broken.clear()
    assert await one.changes.load("b") is not None


async def test_a_promotion_asks_again_whether_all_have_the_model(ledger: Ledger, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    await one.changes.load("b")
    store = ModelsInMemory("b")
    store.broken.add("b")
    async with started(Node(ledger, store, "2")) as late:
        assert late.ready == [False, True]
        with pytest.raises(ModelLoadFailed, match="worker 2 "):
            await one.changes.promote("b", force=True)
        assert one.champion == FIRST
        await late.follower.stop_reporting()
        assert (await one.changes.promote("b", force=True))[1] is not None
        await until(lambda: late.ready == [False, True, False])
        assert late.champion == FIRST
        store.broken.clear()
        await late.loader.load("b")
        await until(lambda: late.ready[3:] == [True])
        assert late.champion == "b"


async def test_a_worker_that_does_not_answer_ends_the_wait(
    ledger: Ledger, nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = nodes
    silent = Replicas("elsewhere:1", "7", os.getpid(), frozenset({FIRST}), {})
    await ledger.write(partial(model_workers.report, server="elsewhere:1", worker="7", state=silent.state()))
    monkeypatch.setattr(changes_module, "LOAD_SECONDS", 1.0)
    with pytest.raises(DeadlineExceeded, match="worker 7 of server elsewhere:1"):
        await one.changes.load("b")
    assert "b" not in (await one.changes.roster()).stages


async def test_a_wish_that_ended_a_worker_is_not_followed_again(ledger: Ledger, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    dead = Replicas("host:1", "9", ended.pid, frozenset({FIRST}), {}, following="crafted")

    def die(connection: Connection) -> None:
        replicas.wish(connection, "b", "crafted")
        model_workers.report(connection, "host:1", "9", dead.state())

    await ledger.write(die)
    async with asyncio.timeout(20.0):
        while (await ledger.read(replicas.live))[1]["b"].error == "":  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    with pytest.raises(ModelLoadFailed, match=r"model b killed worker 9 .* for 30 s"):
        await one.changes.load("b")
    assert await one.changes.load("c") is not None  # another model meanwhile: that worker is waited for no longer
    assert [sorted(node.models.versions) for node in nodes] == [sorted([FIRST, "c"])] * 2
    assert one.failures == nodes[1].failures == 0
    await ledger.write(partial(model_workers.withdraw, server=replicas.WISHES, worker="b"))  # as it expires
    assert await one.changes.load("b") is not None


async def test_a_worker_without_its_champion_does_not_start(ledger: Ledger, nodes: tuple[Node, Node]) -> None:
    store = ModelsInMemory(FIRST)
    store.broken.add(FIRST)
    node = Node(ledger, store, "2")
    with pytest.raises(ChampionUnavailable, match=r"lstm\.npz.*; repair the model store, or roll back"):
        async with started(node):
            pass


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_promotion_needs_evidence_unless_it_is_forced(ledger: Ledger, allowed: bool) -> None:
    node = Node(ledger, ModelsInMemory("b"), "0", judge=Verdict(allowed=allowed))
    async with started(node):
        assert (node.champion, node.ready) == (FIRST, [False, True]), "a ledger begins with the settings' bundle"
        assert node.rosters == [2]
        await node.changes.load("b")
        if not allowed:
            with pytest.raises(NotProven):
                await node.changes.promote("b")
        _, change = await node.changes.promote("b", force=not allowed)
        assert change is not None
        assert (change.forced, change.evidence is not None) == (not allowed, True)


async def test_a_new_bundle_is_not_verified_for_a_caller_who_may_change_no_more_models_today(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification takes seconds of a core."""
    one, _ = nodes
    monkeypatch.setattr(one.store, "verify", pytest.fail)
    caller = Caller(address="203.0.113.7")
    with Limits(Settings()).take(CallKind.RECORD, caller):
        with caller.reserved([MODEL_CHANGE] * MODEL_CHANGES):
            pass
        with pytest.raises(CallerLimit, match="100 changes of models a day"):
            await one.changes.load("b", caller=caller)


CALLERS = 20


VERSIONS = ("a", "b", "c", "d")


class OneRoster:
    """A roster without changes: no model is loaded."""

    async def roster(self) -> Roster:
        """Return the roster."""
        return Roster(stages=dict.fromkeys(VERSIONS, ModelStage.RETIRED))

    async def replicas(self) -> list[Any]:
        """Return no workers."""
        return []


class StallingStore(ModelsInMemory):
    """A store whose manifests cannot be read before `answers` is set."""

    def __init__(self, *versions: str) -> None:
        super().__init__(*versions)
        self.answers = threading.Event()
        self.stalled = threading.Event()
        self.reads: list[str] = []

    @override
    def manifest(self, version: str) -> Manifest:
        self.reads.append(version)
        self.stalled.set()
        self.answers.wait(60)
        return super().manifest(version)


async def test_readers_share_one_read_and_leave_the_other_threads_to_others() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))
    store = StallingStore(*VERSIONS)
    none: Any = None
    stored = StoredModels(cast("ModelLifecycle", OneRoster()), store, none)
    service, task = ModelService(ServingModels(), stored=stored), asyncio.create_task
    lists = [task(service.list_models(pb.ListModelsRequest(), none)) for _ in range(CALLERS)]
    requests = [pb.GetModelRequest(model_version=version) for version in VERSIONS * CALLERS]
    gets = [task(service.get_model(each, none)) for each in requests]
    async with asyncio.timeout(30):
        try:
            await asyncio.to_thread(store.stalled.wait)
            assert store.reads == [VERSIONS[0]]
            lists[0].cancel()  # the read goes on for the others
        finally:
            store.answers.set()
        for answer in await asyncio.gather(*lists[1:]):
            assert [model.version for model in answer.models] == list(VERSIONS)
        await asyncio.gather(*gets)
    assert sorted(set(store.reads)) == sorted(VERSIONS)
    assert len(store.reads) == 2 * len(VERSIONS)  # the fake's hash reads the manifest again
