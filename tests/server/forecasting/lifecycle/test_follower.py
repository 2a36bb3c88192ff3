"""Workers follow the roster of one ledger: each loads what it names, and a change waits until all have it loaded."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.server.forecasting.lifecycle.models_in_memory import FIRST, ModelsInMemory
from tests.support.harness.waiting import until
from typing_extensions import override

from dejavu_ledger import Ledger
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import MODEL_CHANGE
from dejavu_models.comparison.gate import GateDecision, Judgement
from dejavu_models.types import AdaptationMode
from dejavu_server.access.policy import CallKind
from dejavu_server.coordination import model_workers
from dejavu_server.forecasting.lifecycle import changes as changes_module
from dejavu_server.forecasting.lifecycle import replicas
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.follower import ChampionUnavailable, ModelFollower
from dejavu_server.forecasting.lifecycle.lifecycle_errors import ModelLoadFailed, NotProven
from dejavu_server.forecasting.lifecycle.loader import ModelLoader
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.limits import MODEL_CHANGES, Caller, CallerLimit, DeadlineExceeded, Limits
from dejavu_server.settings import Settings
from dejavu_store.default_bundles import default_bundle

SECONDS = 20.0


class Verdict(LedgerGate):
    """A judge with a fixed verdict."""

    def __init__(self, *, allowed: bool) -> None:
        self.decision = GateDecision.PROMOTE if allowed else GateDecision.CONTINUE
        self.asked: list[tuple[str, str]] = []

    @override
    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        del since, anchor
        self.asked.append((version, against))
        return Judgement(
            self.decision, "E 3.1 of 20 after 12 games", games=140, crps_e_value=31.0, brier_e_value=22.0, coverage=0.95
        )


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
    one = Node(ledger, ModelsInMemory("b", "c"), "0")
    other = Node(ledger, ModelsInMemory("b", "c"), "1")
    async with started(one), started(other):
        yield one, other


async def test_a_ledger_begins_with_the_first_bundle_of_the_settings(nodes: tuple[Node, Node]) -> None:
    for node in nodes:
        assert (node.champion, node.models.roster.sequence, node.ready) == (FIRST, 2, [False, True])
        assert node.rosters == [2]
    one, _ = nodes
    loaded: dict[str, frozenset[str]] = {}
    async with asyncio.timeout(SECONDS):
        while loaded != {name: {FIRST} for name in "01"}:  # a worker is ready shortly before it reports so
            loaded = {each.worker: each.loaded for each in await one.changes.replicas()}


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


async def test_nobody_waits_for_a_worker_of_the_server_that_has_died(ledger: Ledger, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    dead = Replicas("host:1", "9", ended.pid, frozenset({FIRST}), {})
    await ledger.write(partial(model_workers.report, server="host:1", worker="9", state=dead.state()))
    async with asyncio.timeout(SECONDS):
        assert await one.changes.load("b") is not None


async def test_a_wish_that_ended_a_worker_is_not_followed_again(ledger: Ledger, nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    dead = Replicas("host:1", "9", ended.pid, frozenset({FIRST}), {}, following="crafted")

    def die(connection: Connection) -> None:
        replicas.wish(connection, "b", "crafted")
        model_workers.report(connection, "host:1", "9", dead.state())

    await ledger.write(die)
    async with asyncio.timeout(SECONDS):
        while (wish := (await ledger.read(replicas.live))[1]["b"]).error == "":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert wish.error.startswith("loading model b killed worker 9 of server host:1")
    with pytest.raises(ModelLoadFailed, match=r"model b killed worker 9 .* for 30 s"):
        await one.changes.load("b")
    assert await one.changes.load("c") is not None  # another model meanwhile: that worker is waited for no longer
    assert [sorted(node.models.versions) for node in nodes] == [sorted([FIRST, "c"])] * 2
    assert one.failures == other.failures == 0
    await ledger.write(partial(model_workers.withdraw, server=replicas.WISHES, worker="b"))  # as it expires
    assert await one.changes.load("b") is not None


async def test_a_worker_whose_champion_cannot_be_loaded_does_not_start(
    ledger: Ledger, nodes: tuple[Node, Node]
) -> None:
    store = ModelsInMemory(FIRST)
    store.broken.add(FIRST)
    node = Node(ledger, store, "2")
    with pytest.raises(ChampionUnavailable, match=r"lstm\.npz.*; repair the model store, or roll back"):
        async with started(node):
            pass


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_promotion_needs_evidence_unless_it_is_forced(ledger: Ledger, allowed: bool) -> None:
    judge = Verdict(allowed=allowed)
    async with started(Node(ledger, ModelsInMemory("b"), "0", judge=judge)) as node:
        assert judge.asked == []
        await node.changes.load("b")
        if not allowed:
            with pytest.raises(NotProven, match=r"E 3\.1 of 20 after 12 games"):
                await node.changes.promote("b")
        _, change = await node.changes.promote("b", force=not allowed)
        assert change is not None
        assert (change.forced, change.evidence is not None) == (not allowed, True)
        assert set(judge.asked) == {("b", FIRST)}


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
