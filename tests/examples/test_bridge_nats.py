"""The bridge to NATS: every event once, over kills of the bridge, the broker and the server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.harness.documents import ROOT
from tests.support.harness.required import skip_or_fail
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.restartable_server import restartable_server

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import HALFTIME, AsyncDejavuClient

pytestmark = pytest.mark.nightly


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
