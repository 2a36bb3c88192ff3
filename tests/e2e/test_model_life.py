"""A season in the life of models, on two servers with one ledger and one store, with a worker killed at every step.

A champion, a challenger that is better, one that is worse, a broken one, and a rollback; callers and streams all the
while, of which no call fails and no stream loses anything.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
from tests.support.builders.bundles import copy_of_default, publish_variant
from tests.support.builders.calls import current_game
from tests.support.processes.load import load
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.model_service_pb2 import (
    MODEL_STAGE_RETIRED,
    MODEL_STAGE_SERVING,
    MODEL_STAGE_STAGED,
    ModelAction,
    PromoteModelResponse,
)
from dejavu_client import FINAL, AsyncDejavuClient, FailedPreconditionError, predict_request
from dejavu_models.manifest import LSTM
from dejavu_models.registry.stages import ModelAction as Action
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.verification import verify
from dejavu_server.ledger.queries.model_changes import read_changes
from dejavu_server.records import IssuedForecast

GAMES, MOST_GAMES = 130, 115
"""Games of a part of the season, and how many are compared at least: a killed worker takes its shadows along."""

LEVELS = tuple(step / 100 for step in range(5, 100, 5))


class Season:
    """Plays games and reports how they ended, as the shipped model says that games end.

    Args:
        client: a client of the servers.
        truth: version of the shipped model.
    """

    def __init__(self, client: AsyncDejavuClient, truth: str) -> None:
        self._client = client
        self._truth = truth
        self._played = 0
        self._random = random.Random(1)

    async def play(self, games: int) -> None:
        """Has games forecast at the half, and reports an end of each by the distribution of the shipped model."""
        numbers = range(self._played, self._played + games)
        self._played += games
        courses = [self._course() for _ in numbers]
        named = [
            predict_request(course, game_id=current_game(number + 1), horizon=FINAL)
            for number, course in zip(numbers, courses, strict=True)
        ]
        answers = await self._client.predict_batch(named, timeout=60.0)
        assert [each.WhichOneof("result") for each in answers] == ["forecast"] * games
        asked = [
            predict_request(course, horizon=FINAL, model_version=self._truth, quantile_levels=LEVELS)
            for course in courses
        ]
        for number, answer in zip(numbers, await self._client.predict_batch(asked, timeout=60.0), strict=True):
            quantiles = [each.value for each in answer.forecast.quantiles]
            place = self._random.random() * (len(quantiles) - 1)
            low = int(place)
            drawn = quantiles[low] + (place - low) * (quantiles[min(low + 1, len(quantiles) - 1)] - quantiles[low])
            await self._client.report_outcome(current_game(number + 1), round(drawn) or 1, horizon=FINAL)

    def _course(self) -> list[float]:
        lead, course = 0.0, []
        for _ in range(24):
            lead += self._random.choice((-3, -2, -1, 0, 1, 2, 3))
            course.append(lead)
        return course


@contextmanager
def two_servers(folder: Path, first: Path) -> Iterator[list[SpawnedServer]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                spawned_server(
                    *("--workers", "2", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}", "--bundle", str(first)),
                    *("--model-store", str(folder / "store")),
                )
            )
            for _ in range(2)
        ]


class Story:
    """The two servers, a client of both, and the bundles of the season.

    Attributes:
        bad, good, worse: versions: of the first champion, of the shipped model, of one that is worse than both.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bad = publish_variant(folder / "bad", 0.5, lost=0.8)
        self.good = copy_of_default(folder / "good")
        self.worse = publish_variant(folder / "worse", 0.5, lost=1.2)
        self.broken = folder / "broken"
        publish_variant(self.broken, 0.7)
        content = (self.broken / LSTM).read_bytes()
        (self.broken / LSTM).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        self.servers: list[SpawnedServer] = []
        self._kills = 0

    @property
    def target(self) -> str:
        """The addresses of both servers."""
        return ",".join(server.address for server in self.servers)

    def kill_a_worker(self) -> None:
        """Kills one of the workers, another one each time."""
        workers = [worker for server in self.servers for worker in server.workers]
        os.kill(workers[self._kills % len(workers)].pid, signal.SIGKILL)
        self._kills += 1

    async def october(self, client: AsyncDejavuClient) -> None:
        """Registers and stages a challenger; unproven, it is not promoted."""
        [champion] = await client.list_models()
        assert (champion.version, champion.stage) == (self.bad, MODEL_STAGE_SERVING)
        assert (await client.register_bundle(self.folder / "good", reason="new season")).created
        self.kill_a_worker()
        assert (await client.load_model(self.good, reason="watch it")).model.stage == MODEL_STAGE_STAGED
        with pytest.raises(FailedPreconditionError) as refused:
            await client.promote_model(self.good)
        assert refused.value.reason == "MODEL_NOT_PROVEN"

    async def november(self, client: AsyncDejavuClient, season: Season) -> None:
        """The challenger proves itself in the shadow, and is promoted."""
        self.kill_a_worker()
        await compared(client, season, self.good)
        comparison = await client.compare_models(self.good, horizon=FINAL)
        assert comparison.crps.difference < 0
        promoted = await self._promoted(client, season)
        assert not promoted.change.forced
        assert promoted.change.evidence.games >= 100
        assert promoted.change.evidence.against_version == self.bad
        self.kill_a_worker()

    async def _promoted(self, client: AsyncDejavuClient, season: Season) -> PromoteModelResponse:
        """Promotes the challenger once there is evidence enough; how many games that takes is chance."""
        async with asyncio.timeout(120):
            while True:
                try:
                    return await client.promote_model(self.good, reason="proven")
                except FailedPreconditionError as error:
                    if error.reason != "MODEL_NOT_PROVEN":
                        raise
                    await season.play(GAMES // 2)
                    await asyncio.sleep(2)

    async def january(self, client: AsyncDejavuClient, season: Season) -> None:
        """A challenger that is worse is not promoted but by force, and is rolled back."""
        await client.register_bundle(self.folder / "worse", reason="drift")
        await client.load_model(self.worse)
        self.kill_a_worker()
        await compared(client, season, self.worse)
        with pytest.raises(FailedPreconditionError) as refused:
            await client.promote_model(self.worse)
        assert refused.value.reason == "MODEL_NOT_PROVEN"
        assert (await client.promote_model(self.worse, force=True, reason="I know better")).change.forced
        self.kill_a_worker()

    async def february(self, client: AsyncDejavuClient) -> None:
        """The operator returns to the previous model; a repeated request does not do so twice."""
        assert (await client.rollback_model(from_version=self.worse, reason="I did not")).model.version == self.good
        assert not (await client.rollback_model(from_version=self.worse)).HasField("change")
        self.kill_a_worker()

    async def march(self, client: AsyncDejavuClient) -> None:
        """A broken bundle is refused, and leaves nothing behind."""
        with pytest.raises(FailedPreconditionError):
            await client.register_bundle(self.broken)
        stages = {each.version: each.stage for each in await client.list_models()}
        assert stages == {
            self.bad: MODEL_STAGE_RETIRED,
            self.good: MODEL_STAGE_SERVING,
            self.worse: MODEL_STAGE_RETIRED,
        }


async def compared(client: AsyncDejavuClient, season: Season, version: str) -> None:
    """Plays games until a challenger was compared on enough of them: on a busy machine shadows are dropped."""
    async with asyncio.timeout(200):
        await season.play(GAMES)
        for waited in count(1):
            if (await client.compare_models(version, horizon=FINAL)).games >= MOST_GAMES:
                return
            if waited % 50 == 0:
                await season.play(GAMES // 2)
            await asyncio.sleep(0.2)


@pytest.mark.nightly
@pytest.mark.timeout(500)
async def test_a_season_with_a_better_a_worse_and_a_broken_challenger(tmp_path: Path) -> None:
    story = Story(tmp_path)
    with two_servers(tmp_path, tmp_path / "bad") as story.servers:
        async with AsyncDejavuClient(story.target, timeout=30.0) as client:
            season = Season(client, story.good)
            async with load(story.target) as callers:
                await story.october(client)
                await story.november(client, season)
                await callers.answered_by(story.good)
                await story.january(client, season)
                await callers.answered_by(story.worse)
                await story.february(client)
                await story.march(client)
                await callers.answers(50)
            callers.check()
            history = [each.action for each in reversed((await client.list_model_changes()).changes)]
    assert [ModelAction.Name(each).removeprefix("MODEL_ACTION_") for each in history] == [
        *("REGISTER", "PROMOTE", "REGISTER", "LOAD", "PROMOTE"),
        *("REGISTER", "LOAD", "PROMOTE", "ROLLBACK"),
    ]
    await check_champions(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")


async def check_champions(url: str) -> None:
    """Checks the ledger, and that each forecast in it was made by the champion at its sequence."""
    assert verify(url).entries > 0
    ledger = await Ledger.open(url)
    try:
        changes = await ledger.read(read_changes)
        served = [each for each in changes if each.action in {Action.PROMOTE, Action.ROLLBACK}]
        after = 0
        while page := await ledger.read_after(after, 500):
            after = page[-1].sequence
            for entry in page:
                if isinstance(entry, IssuedForecast):
                    champion = [each.model_version for each in served if each.sequence < entry.sequence][-1]
                    assert entry.forecast.model_version == champion, entry.sequence
    finally:
        await ledger.close()
