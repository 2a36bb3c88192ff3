"""The streams of the examples through nginx and HAProxy: every event once, over kills and reloads."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers
from tests.support.processes.proxied import ProxiedServers
from tests.support.programs import examples

from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import DejavuClientError


class Recorder:
    """Records forecasts, however often each takes: there may be no server for a while.

    Attributes:
        last: sequence of the newest one.
    """

    def __init__(self, client: AsyncDejavuClient) -> None:
        self._client = client
        self._number = 0
        self._refusal: DejavuClientError | None = None
        self.last = 0

    async def record(self, count: int) -> None:
        for _ in range(count):
            self._number += 1
            try:
                async with asyncio.timeout(60):
                    while not await self._try():  # noqa: ASYNC110 - no event tells that a server is back
                        await asyncio.sleep(0.2)
            except TimeoutError:
                raise AssertionError(f"refused for a minute: {self._refusal}") from self._refusal

    async def _try(self) -> bool:
        try:
            self.last = (await self._client.predict(PATTERN, horizon=HALFTIME, game_id=game(self._number))).sequence
        except DejavuClientError as error:
            self._refusal = error
            return False
        return True


async def read_all(reader: subprocess.Popen[str], sequences: list[int]) -> None:
    """Append the sequences of a program's events until it ends; if nobody read them, it would stop at a full pipe."""
    assert reader.stdout is not None
    while line := await asyncio.to_thread(reader.stdout.readline):
        sequences.append(int(json.loads(line)["sequence"]))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
@pytest.mark.timeout(900)
async def test_every_event_comes_once_and_in_order(
    tmp_path: Path, kind: str, stream_program: Sequence[str | Path]
) -> None:
    with ExitStack() as stack:
        proxied = ProxiedServers(stack, tmp_path, kind)
        await until(lambda: answers(proxied.address))
        reader = stack.enter_context(examples.started(*stream_program, address=proxied.address, seconds=800))
        read = list[int]()
        reading = asyncio.create_task(read_all(reader, read))
        async with AsyncDejavuClient(proxied.address, timeout=20.0) as client:
            recorder = Recorder(client)
            while not read:  # until it has subscribed
                assert not reading.done()
                await recorder.record(1)
                await asyncio.wait([reading], timeout=0.2)
            for number in range(20):
                await proxied.kill(number % 2)
                await recorder.record(5)
                proxied.reload()
                await recorder.record(5)
        await until(lambda: read[-1] >= recorder.last)
        assert reader.poll() is None
        reader.kill()
        await reading
        assert reader.stderr is not None
        breaks = reader.stderr.read().count("lost the stream")
    assert read == list(range(read[0], recorder.last + 1))
    assert breaks >= 15  # after a kill it goes to the other server, which is killed next
