"""A season in the life of models, on two servers with one ledger and one store, with a process killed at every step.

There is a champion, a better challenger, a worse one, a broken one, and a rollback. Meanwhile no call fails and no
stream loses an event. The process that makes a change is killed (kill -9) during it: afterwards the change is in the
ledger completely or not at all, and after a repetition it is there once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench.promotions import served
from sqlalchemy import func, select
from tests.support.builders.bundles import copy_of_default, publish_variant
from tests.support.builders.calls import current_game
from tests.support.harness.stores import stored_versions
from tests.support.processes.load import load
from tests.support.programs.killed_changes import SECONDS, Change, KilledServers, killed_servers

from dejavu.v1 import model_comparison_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_client import FINAL, AsyncDejavuClient, FailedPreconditionError, predict_request
from dejavu_models.manifest import LINEAR
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.verification import verify
from dejavu_server.ledger.database.schema import shadows
from dejavu_server.ledger.queries.model_changes import KnownRoster, read_changes
from dejavu_server.records import IssuedForecast
from dejavu_store.bundle import MANIFEST
from dejavu_store.bundle_store import ModelStore
from dejavu_store.folder import FolderFiles
from dejavu_store.stages import ModelAction, ModelChange

GAMES, FEWEST = 130, 100
"""Games in a part of the season, and the minimum that the gate requires."""

KILLS = 2
"""Maximum number of kills per change; there is no further kill once the change is made."""

LEVELS = tuple(step / 100 for step in range(5, 100, 5))


class Season:
    """Plays games and reports outcomes drawn from the shipped model's distributions.

    Args:
        client: a client of the servers.
        ledger: their ledger.
        truth: version of the shipped model.

    Attributes:
        acknowledged: the game of every sequence in an answer.
    """

    def __init__(self, client: AsyncDejavuClient, ledger: Ledger, truth: str) -> None:
        self._client = client
        self._ledger = ledger
        self._truth = truth
        self.acknowledged: dict[int, str] = {}
        self._played = 0
        self._random = random.Random(1)
        self._committed = asyncio.Event()
        ledger.listen(self._committed)

    async def play(self, challenger: str) -> int:
        """Forecast GAMES games at the half and report their outcomes; return the number of a challenger's shadows.

        The outcomes wait for the shadows: a later shadow is not recorded. A busy server can leave some out.
        """
        numbers = range(self._played, self._played + GAMES)
        self._played += GAMES
        courses = [self._course() for _ in numbers]
        named = [
            predict_request(course, game_id=current_game(number + 1), horizon=FINAL)
            for number, course in zip(numbers, courses, strict=True)
        ]
        answers = await self._client.predict_batch(named, timeout=SECONDS)
        assert [each.WhichOneof("result") for each in answers] == ["forecast"] * GAMES
        sequences = {each.forecast.sequence: each.forecast.game_id for each in answers}
        self.acknowledged |= sequences
        asked = [
            predict_request(course, horizon=FINAL, model_version=self._truth, quantile_levels=LEVELS)
            for course in courses
        ]
        ends = await self._client.predict_batch(asked, timeout=SECONDS)
        assert [each.WhichOneof("result") for each in ends] == ["forecast"] * GAMES, ends
        made = await self._shadows(challenger, sequences)
        async with asyncio.TaskGroup() as reporting:
            for number, answer in zip(numbers, ends, strict=True):
                end = self._drawn([each.value for each in answer.forecast.quantiles])
                reporting.create_task(self._client.report_outcome(current_game(number + 1), end, horizon=FINAL))
        return made

    async def _shadows(self, version: str, sequences: Collection[int]) -> int:
        """Wait until a model has a shadow beside each forecast, but not for ever; return the number of shadows."""
        beside = select(func.count()).where(
            shadows.c.model_version == version, shadows.c.forecast_sequence.in_(sequences)
        )
        made = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS / 2):
                while made < len(sequences):
                    self._committed.clear()
                    made = await self._ledger.read(lambda connection: connection.execute(beside).scalar_one())
                    if made < len(sequences):
                        await self._committed.wait()
        return made

    def _drawn(self, quantiles: list[float]) -> int:
        place = self._random.random() * (len(quantiles) - 1)
        low = int(place)
        drawn = quantiles[low] + (place - low) * (quantiles[min(low + 1, len(quantiles) - 1)] - quantiles[low])
        return round(drawn) or 1

    def _course(self) -> list[float]:
        lead, course = 0.0, []
        for _ in range(24):
            lead += self._random.choice((-3, -2, -1, 0, 1, 2, 3))
            course.append(lead)
        return course


class Story:
    """The servers, a client of both, and the bundles of the season.

    Args:
        folder: folder of the bundles, the ledger and the store.

    Attributes:
        store: the store of the servers.
        bad, good, worse: versions of the first champion, of the shipped model, and of one that is worse than both.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ModelStore.open(folder / "store")
        self.bad = publish_variant(folder / "bad", 2.0)
        self.good = copy_of_default(folder / "good")
        self.worse = publish_variant(folder / "worse", 3.0)
        self.servers: KilledServers
        self.client: AsyncDejavuClient
        self.season: Season
        self.ledger: Ledger

    @property
    def target(self) -> str:
        """The addresses of both servers."""
        return ",".join(self.servers.addresses)

    @asynccontextmanager
    async def begins(self, servers: KilledServers) -> AsyncIterator[Story]:
        """Open a client of the servers and their ledger."""
        self.servers = servers
        async with AsyncDejavuClient(self.target, timeout=SECONDS) as self.client:
            self.ledger = await Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite3'}")
            self.season = Season(self.client, self.ledger, self.good)
            try:
                yield self
            finally:
                await self.ledger.close()

    async def changes(self) -> list[ModelChange]:
        """Return the changes that are in the ledger."""
        return await self.ledger.read(read_changes)

    async def killed(self, expected: ModelAction, change: Change, seconds: float, *, supervisor: bool = False) -> None:
        """Request a change and kill the process that makes it.

        After each kill, check that the ledger has gained the change once, or nothing unless it was acknowledged, and
        that the store has only whole bundles. The caller repeats the change.
        """
        before = await self.changes()
        for _ in range(KILLS):
            acknowledged = await self.servers.kill_during(change, seconds, supervisor=supervisor)
            made = (await self.changes())[len(before) :]
            assert [each.action for each in made] in ([expected], [] if not acknowledged else None)
            assert all(self.store.is_complete(version) for version in stored_versions(self.store))
            if made:
                return

    async def compared(self, version: str, decision: model_comparison_pb2.GateDecision.ValueType) -> None:
        """Play enough games for the gate, and check its decision about a challenger."""
        games = 0
        async with asyncio.timeout(4 * SECONDS):
            while games < FEWEST:
                games += await self.season.play(version)
        found = await self.client.compare_models(version, horizon=FINAL)
        assert (found.games >= games, found.decision) == (True, decision), found

    async def loaded(self, version: str) -> pb.ModelStage.ValueType:
        """Load a model, and return its stage; after a kill during loading, servers refuse to load it for a time."""
        async with asyncio.timeout(4 * SECONDS):
            while True:
                try:
                    return (await self.client.load_model(version)).model.stage
                except FailedPreconditionError as error:
                    if "killed worker" not in str(error):
                        raise
                    await asyncio.sleep(1)

    async def october(self) -> None:
        """Register and stage a challenger; unproven, it is not promoted."""
        [champion] = await self.client.list_models()
        assert (champion.version, champion.stage) == (self.bad, pb.MODEL_STAGE_SERVING)
        self.store.put(self.folder / "good")
        load_request = pb.LoadModelRequest(model_version=self.good, reason="new season")
        await self.killed(ModelAction.LOAD, lambda stub: stub.LoadModel(load_request), 3.0)
        assert await self.loaded(self.good) == pb.MODEL_STAGE_STAGED
        with pytest.raises(FailedPreconditionError) as refused:
            await self.client.promote_model(self.good)
        assert refused.value.reason == "MODEL_NOT_PROVEN"

    async def november(self) -> None:
        """The challenger proves itself in the shadow, and is promoted."""
        await self.compared(self.good, model_comparison_pb2.GATE_DECISION_PROMOTE)
        request = pb.PromoteModelRequest(model_version=self.good, reason="proven")
        await self.killed(ModelAction.PROMOTE, lambda stub: stub.PromoteModel(request), 0.5)
        promoted = await self.client.promote_model(self.good, reason="proven")
        assert promoted.model.stage == pb.MODEL_STAGE_SERVING
        change = (await self.changes())[-1]
        assert (change.action, change.model_version, change.forced) == (ModelAction.PROMOTE, self.good, False)
        assert change.evidence is not None
        assert (change.evidence.against, change.evidence.games >= FEWEST) == (self.bad, True)
        assert change.evidence.crps_difference < 0

    async def january(self) -> None:
        """A worse challenger is promoted only by force, through a server that is killed."""
        self.store.put(self.folder / "worse")
        await self.client.load_model(self.worse, reason="drift")
        await self.compared(self.worse, model_comparison_pb2.GATE_DECISION_RETIRE)
        with pytest.raises(FailedPreconditionError) as refused:
            await self.client.promote_model(self.worse)
        assert refused.value.reason == "MODEL_NOT_PROVEN"
        request = pb.PromoteModelRequest(model_version=self.worse, force=True, reason="I know better")
        await self.killed(ModelAction.PROMOTE, lambda stub: stub.PromoteModel(request), 0.5, supervisor=True)
        await self.client.promote_model(self.worse, force=True, reason="I know better")
        assert (await self.changes())[-1].forced

    async def february(self) -> None:
        """The operator returns to the previous model; a repeated request does not do so twice."""
        request = pb.RollbackModelRequest(from_version=self.worse, reason="I did not")
        await self.killed(ModelAction.ROLLBACK, lambda stub: stub.RollbackModel(request), 0.4)
        assert (await self.client.rollback_model(from_version=self.worse)).model.version == self.good
        assert not (await self.client.rollback_model(from_version=self.worse)).HasField("change")

    async def march(self) -> None:
        """Bundles in the store with altered bytes, and with a wrong golden answer, are refused, and change nothing."""
        altered, other = publish_variant(self.folder / "altered", 0.007), publish_variant(self.folder / "other", 0.006)
        self.store.put(self.folder / "altered")
        file = self.folder / "store" / "files" / self.store.manifest(altered).files[LINEAR]
        file.write_bytes(file.read_bytes()[:-1])
        manifest = json.loads((self.folder / "other" / MANIFEST).read_text())
        manifest["golden"][0]["point_forecast"] += 9.0
        (self.folder / "other" / MANIFEST).write_text(json.dumps(manifest))
        ModelStore(FolderFiles(self.folder / "store"), self.folder / "store" / "work", check=lambda _: None).put(
            self.folder / "other"
        )
        for version in (altered, other):
            with pytest.raises(FailedPreconditionError) as refused:
                await self.client.load_model(version)
            assert refused.value.reason == "BUNDLE_CORRUPT"
        assert {each.version for each in await self.client.list_models()} == {self.bad, self.good, self.worse}
        self.store.put(self.folder / "altered")  # repairs it

    async def june(self) -> None:
        """The first champion, staged since the season's first promotion as its anchor, is retired."""
        anchor = await self.client.load_model(self.bad, reason="once more")
        assert (anchor.model.stage, anchor.HasField("change")) == (pb.MODEL_STAGE_STAGED, False)
        request = pb.RetireModelRequest(model_version=self.bad, reason="enough")
        await self.killed(ModelAction.RETIRE, lambda stub: stub.RetireModel(request), 0.1)
        await self.client.retire_model(self.bad, reason="enough")
        assert {each.version: each.stage for each in await self.client.list_models()} == {
            self.bad: pb.MODEL_STAGE_RETIRED,
            self.good: pb.MODEL_STAGE_SERVING,
            self.worse: pb.MODEL_STAGE_RETIRED,
        }


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_a_season_with_a_process_killed_at_every_change(tmp_path: Path) -> None:
    story = Story(tmp_path)
    with killed_servers(tmp_path, tmp_path / "bad", random.Random()) as servers:  # kills at other moments every night
        async with story.begins(servers):
            async with load(story.target) as callers:
                await story.october()
                await story.november()
                await callers.answered_by(story.good)
                await story.january()
                await callers.answered_by(story.worse)
                await story.february()
                await story.march()
                await story.june()
                await callers.answers(50)
                callers.acknowledged |= story.season.acknowledged
            callers.check()
            assert servers.kills >= 5
            assert set((await served(servers.addresses, 2)).values()) == {story.good}
            await check_history(story)
    assert verify(f"sqlite:///{tmp_path / 'ledger.sqlite3'}").entries > 0


async def check_history(story: Story) -> None:
    """Check that each change was made once, and that each forecast was made by the champion at its sequence."""
    changes = await story.changes()
    assert [each.action.name for each in changes] == [
        *("REGISTER", "PROMOTE", "REGISTER", "LOAD", "PROMOTE"),
        *("REGISTER", "LOAD", "PROMOTE", "ROLLBACK", "RETIRE"),
    ]
    assert (await story.ledger.read(KnownRoster().read)).champion == story.good
    switches = [each for each in changes if each.action in {ModelAction.PROMOTE, ModelAction.ROLLBACK}]
    after = 0
    while page := await story.ledger.read_after(after, 500):
        after = page[-1].sequence
        for entry in page:
            if isinstance(entry, IssuedForecast):
                champion = [each.model_version for each in switches if each.sequence < entry.sequence][-1]
                assert entry.forecast.model_version == champion, entry.sequence
