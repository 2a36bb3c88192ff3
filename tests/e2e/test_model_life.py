"""A season in the life of models, on two servers with one ledger and one store, with a worker killed at every step.

A champion, a challenger that is better, one that is worse, a broken one, and a rollback; callers and streams all the
while, of which no call fails and no stream loses anything.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.builders.bundles import copy_of_default, publish_variant
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.load import load
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.model_service_pb2 import MODEL_STAGE_RETIRED, MODEL_STAGE_SERVING, MODEL_STAGE_STAGED, ModelAction
from dejavu_client import FINAL, AsyncDejavuClient, FailedPreconditionError, predict_request
from dejavu_client.requests import PredictOptions
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.verification import verify
from dejavu_server.ledger.queries.model_changes import read_changes

GAMES = 130
"""Games of a part of the season: enough for the gate to tell a bad model from a good one."""

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
        self._random = random.Random(1)  # noqa: S311 - the same games in every run

    async def play(self, games: int) -> None:
        """Has some games forecast at the half, and reports an outcome of each by the distribution of the shipped model."""
        numbers = range(self._played, self._played + games)
        self._played += games
        courses = [self._course() for _ in numbers]
        named = [
            predict_request(course, PredictOptions(game_id=current_game(number + 1), horizon=FINAL))
            for number, course in zip(numbers, courses, strict=True)
        ]
        answers = await self._client.predict_batch(named, timeout=60.0)
        assert [each.WhichOneof("result") for each in answers] == ["forecast"] * games
        asked = [
            predict_request(
                course, PredictOptions(horizon=FINAL, model_version=self._truth, quantile_levels=LEVELS)
            )
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
                    *("--model-store", str(folder / "store"), "--max-game-forecasts", "5000"),
                )
            )
            for _ in range(2)
        ]


def kill_a_worker(servers: list[SpawnedServer], step: int) -> None:
    """Kills one of the workers, another one at each step."""
    workers = [worker for server in servers for worker in server.workers]
    os.kill(workers[step % len(workers)].pid, signal.SIGKILL)


async def shadows_of(client: AsyncDejavuClient, version: str, games: int) -> None:
    """Waits until a challenger was compared on so many games."""
    async with asyncio.timeout(60):
        while (await client.compare_models(version, horizon=FINAL)).games < games:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_a_season_with_a_better_a_worse_and_a_broken_challenger(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    bad = publish_variant(first, 25.0)
    good = copy_of_default(second)
    worse = publish_variant(third, 40.0)
    broken = Path(shutil.copytree(second, tmp_path / "broken"))
    (broken / "lstm.onnx").write_bytes((broken / "lstm.onnx").read_bytes()[:-1] + b"?")

    with two_servers(tmp_path, first) as servers:
        target = ",".join(server.address for server in servers)
        async with AsyncDejavuClient(target, timeout=30.0) as client, load(target) as callers:
            season = Season(client, good)
            [champion] = await client.list_models()
            assert (champion.version, champion.stage) == (bad, MODEL_STAGE_SERVING)

            # October: a challenger is registered and staged. A worker dies meanwhile.
            assert (await client.register_bundle(second, reason="new season")).created
            kill_a_worker(servers, 0)
            assert (await client.load_model(good, reason="watch it")).model.stage == MODEL_STAGE_STAGED
            with pytest.raises(FailedPreconditionError) as refused:
                await client.promote_model(good)
            assert refused.value.reason == "MODEL_NOT_PROVEN"

            # November: it proves itself.
            kill_a_worker(servers, 1)
            await season.play(GAMES)
            await shadows_of(client, good, GAMES * 9 // 10)
            comparison = await client.compare_models(good, horizon=FINAL)
            assert comparison.crps.difference < 0 < comparison.crps.not_worse_e_value
            promoted = await client.promote_model(good, reason="proven")
            assert not promoted.change.forced
            assert promoted.change.evidence.games >= 100
            kill_a_worker(servers, 2)
            await callers.answered_by(good)

            # January: a retrained one is worse, and cannot be promoted; the operator forces it, and regrets it.
            await client.register_bundle(third, reason="drift")
            await client.load_model(worse)
            kill_a_worker(servers, 3)
            await season.play(GAMES)
            await shadows_of(client, worse, GAMES * 9 // 10)
            with pytest.raises(FailedPreconditionError) as refused:
                await client.promote_model(worse)
            assert refused.value.reason == "MODEL_NOT_PROVEN"
            assert (await client.promote_model(worse, force=True, reason="I know better")).change.forced
            kill_a_worker(servers, 4)
            await callers.answered_by(worse)
            assert (await client.rollback_model(from_version=worse, reason="no")).model.version == good
            assert not (await client.rollback_model(from_version=worse)).HasField("change"), "rolled back twice"
            kill_a_worker(servers, 5)

            # March: a broken bundle leaves nothing behind.
            with pytest.raises(FailedPreconditionError):
                await client.register_bundle(broken)
            stages = {each.version: each.stage for each in await client.list_models()}
            assert stages[good] == MODEL_STAGE_SERVING
            assert stages[worse] == MODEL_STAGE_RETIRED
            assert len(stages) == 3
            await callers.answers(50)
        callers.check()
        history = [each async for each in _changes(target)]
    assert [ModelAction.Name(each).removeprefix("MODEL_ACTION_") for each in history] == [
        *("REGISTER", "PROMOTE", "REGISTER", "LOAD", "PROMOTE"),
        *("REGISTER", "LOAD", "PROMOTE", "ROLLBACK"),
    ]
    await _check_champions(tmp_path)


async def _changes(target: str) -> Iterator[int]:  # type: ignore[misc]
    async with AsyncDejavuClient(target) as client:
        for change in reversed((await client.list_model_changes()).changes):
            yield change.action


async def _check_champions(folder: Path) -> None:
    """Checks the ledger, and that each forecast in it was made by the champion at its sequence."""
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    assert verify(url).entries > 0
    ledger = await Ledger.open(url)
    try:
        champions = [(each.sequence, each.model_version) for each in await ledger.read(read_changes) if each.action.value in {"promote", "rollback"}]
        after = 0
        while page := await ledger.read_after(after, 500):
            after = page[-1].sequence
            for entry in page:
                if hasattr(entry, "forecast"):
                    made_by = [version for sequence, version in champions if sequence < entry.sequence][-1]
                    assert entry.forecast.model_version == made_by, entry.sequence
    finally:
        await ledger.close()
