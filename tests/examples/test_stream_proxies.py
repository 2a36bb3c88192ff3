"""The streams of the examples through nginx and HAProxy, and the bridge to NATS: every event once, over kills."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.harness.documents import ROOT
from tests.support.harness.required import skip_or_fail
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.proxied import ProxiedServers
from tests.support.processes.restartable_server import restartable_server
from tests.support.programs import examples

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import DejavuClientError

pytestmark = pytest.mark.nightly


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


BRIDGE = ROOT / "examples" / "python" / "bridge_nats.py"
KILLS = 10


@pytest.fixture
def program() -> str:
    return shutil.which("nats-server") or skip_or_fail("nats-server is not installed")


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[Callable[[], None]]:
    """Run a program; yield what kills it and starts it again."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen([str(each) for each in command], env={**os.environ, **environment}))

    def again() -> None:
        started[-1].send_signal(signal.SIGKILL)
        started[-1].wait()
        start()

    start()
    try:
        yield again
    finally:
        started[-1].kill()
        started[-1].wait()


async def test_every_event_reaches_the_broker_over_kills(tmp_path: Path, program: str) -> None:
    nats = pytest.importorskip("nats")
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    broker_command = (program, "-js", "-sd", tmp_path / "nats", "-a", "127.0.0.1", "-p", f"{port}")
    recorded: list[int] = []
    with ExitStack() as stack:
        restart_broker = stack.enter_context(running(*broker_command))
        await until(lambda: answers(f"127.0.0.1:{port}"))
        server = stack.enter_context(restartable_server(tmp_path / "ledger.sqlite3"))

        def restart_server() -> None:
            server.server.process.kill()
            server.server.process.wait()
            server.start_again()

        variables = {"DEJAVU_TARGET": server.address, "NATS_URL": url}
        restart_bridge = stack.enter_context(running(sys.executable, BRIDGE, **variables))
        restarts = (restart_bridge, restart_broker, restart_server)
        async with AsyncDejavuClient(server.address, timeout=60.0) as client:
            for number in range(KILLS):
                for each in range(20):
                    made = await client.predict(PATTERN, horizon=HALFTIME, game_id=game(20 * number + each))
                    recorded.append(made.sequence)
                await asyncio.to_thread(restarts[number % len(restarts)])
        received: list[int] = []
        broker = await nats.connect(url, max_reconnect_attempts=-1)
        subscription = await broker.jetstream().subscribe("dejavu.forecasts.>", ordered_consumer=True)
        async with asyncio.timeout(90):
            while set(received) != set(recorded):
                message = await subscription.next_msg(timeout=60)
                received.append(Forecast.FromString(message.data).sequence)
        await broker.close()
    first = list(dict.fromkeys(received))
    assert first == sorted(recorded), "lost, invented or out of order"
    assert len(received) == len(first), "the broker drops what is published again"
