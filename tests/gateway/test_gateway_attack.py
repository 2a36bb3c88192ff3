"""Attacks on a gateway without a token: the cost of refusals, and access for others.

By day, the tests send a few of each; nightly runs send all of them repeatedly.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from tests.gateway.conftest import Site
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import SpawnedServer
from tests.support.programs.costs import MOST_REFERENCES, cpu_seconds, reference_seconds

from dejavu_common.address import Address
from dejavu_gateway.http.bodies import LARGE_BODY, SMALL_BODY
from dejavu_gateway.messages.decode import MAX_ITEMS

SLOTS = 200
STREAMS = 180
PAUSE_SECONDS = 0.2  # of an attacker whose connection was closed: 40 of them reconnect 200 times a second

PREDICT, BATCH, INFER = "/api/predict", "/api/predict-batch", "/v2/models/dejavu/infer"

_REQUEST = (
    b'{"pattern":[%b],"horizon":"HORIZON_FINAL","gameId":"0022300001","alpha":0.05,"returnExplanation":true,"homeTeam":"BOS",'
    b'"awayTeam":"LAL","pregameMargin":3.5,"gameDate":"2023-01-01","totalPoints":200,"modelVersion":"v","market":{"line":1,'
    b'"bankroll":3,"confidenceThreshold":0.5,"home":{"decimal":2},"away":{"decimal":2}}}'
) % b",".join([b"-9.5"] * 47)


def filled(begin: bytes, item: bytes, end: bytes, size: int, most: int = 10**9) -> bytes:
    """Return a list with as many items as a size allows."""
    count = min((size - len(begin) - len(end)) // (len(item) + 1), most)
    return begin + b",".join([item] * count) + end


def _tensor(datatype: bytes, item: bytes, wrong: bytes, most: int) -> bytes:
    begin = b'{"inputs":[{"name":"x","shape":[1],"datatype":"%b","data":[' % datatype
    return filled(begin, item, b",%b]}]}" % wrong, LARGE_BODY, most)


BODIES: dict[str, tuple[str, bytes]] = {
    "numbers": (PREDICT, filled(b'{"pattern":[', b"0", b"]}", SMALL_BODY)),
    "objects": (PREDICT, filled(b'{"market":[', b"{}", b"]}", SMALL_BODY)),
    "empty requests": (BATCH, filled(b'{"requests":[', b"{}", b"]}", LARGE_BODY)),
    "just the most objects": (BATCH, filled(b'{"requests":[', b"{}", b"]}", LARGE_BODY, 2047)),
    "the most requests, the last one wrong": (
        BATCH,
        filled(b'{"requests":[', _REQUEST, b',{"x":1}]}', LARGE_BODY, MAX_ITEMS - 1),
    ),
    "names": (BATCH, b"{%b}" % b",".join(b'"%d":0' % number for number in range(8_100))),
    "a name twice": (BATCH, b'{%b,"8099":1}' % b",".join(b'"%d":0' % number for number in range(8_100))),
    "escapes": (BATCH, b'{"requests":"%b"}' % (b"\\u0041" * 60_000)),
    "digits": (BATCH, filled(b'{"requests":[', b"9" * 4000, b"]}", LARGE_BODY)),
    "brackets": (BATCH, b"[" * 59_900),
    "tensor": (INFER, _tensor(b"FP64", b"0", b'"x"', 59_900)),
    "texts": (INFER, _tensor(b"BYTES", b'""', b"1", 59_900)),
    "shape": (
        INFER,
        filled(b'{"inputs":[{"name":"x","datatype":"FP64","data":[],"shape":[', b"1", b"]}]}", LARGE_BODY, 59_900),
    ),
    "parameters": (
        INFER,
        b'{"inputs":[],"parameters":{%b}}' % b",".join(b'"%d":0' % number for number in range(8_100)),
    ),
}
"""Requests that are refused, each of which costs as much as its kind can."""

SMALL_RUN = ("objects", "empty requests", "the most requests, the last one wrong", "a name twice", "tensor")


def raw_requests() -> dict[str, bytes]:
    """Return these requests as bytes, and others with a large part that is not the body."""
    head = b"%b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    found = {
        name: head % b"POST %b" % path.encode()
        + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        for name, (path, body) in BODIES.items()
    }
    found["query"] = head % b"GET /api/scorecard?%b" % b"&".join([b"a"] * 7900) + b"\r\n"
    found["parameters of a stream"] = head % b"GET /api/stream?%b" % b"&".join([b"game=1"] * 2000) + b"\r\n"
    found["headers"] = head % b"GET /api/nothing" + b"a:b\r\n" * 3200 + b"\r\n"
    return found


async def refusal(address: Address, request: bytes) -> int:
    """Send a request; return the status, 0 if the connection was closed before it was read."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            line = await reader.readline()
            await reader.read()
            return int(line.split()[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()


async def cost(gateway: SpawnedServer, request: bytes, times: int) -> float:
    """Return the CPU time of a gateway for a request that it refuses, in seconds."""
    address, before = Address.parse(gateway.address), cpu_seconds(gateway.process.pid)
    for _ in range(times):
        assert await refusal(address, request) in {0, 400, 403, 404, 413}
    return (cpu_seconds(gateway.process.pid) - before) / times


@pytest.fixture(scope="module")
def attacked(site: Site, build: object) -> Iterator[SpawnedServer]:
    """A gateway with few slots."""
    options = ("--max-connections", str(SLOTS), "--max-streams-per-address", "16")
    with running_gateway(site.server, "--web", str(build), *options) as gateway:
        yield gateway


@pytest.mark.parametrize("times", [4, pytest.param(25, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
async def test_a_refused_request_costs_little_whatever_is_in_it(attacked: SpawnedServer, times: int) -> None:
    requests = raw_requests()
    for name in SMALL_RUN if times == 4 else requests:
        reference = reference_seconds()
        assert await cost(attacked, requests[name], times) < MOST_REFERENCES * reference + 0.01 / times, name


@dataclass
class Attackers:
    """Live streams from many addresses of loopback, which are opened again as soon as they are closed."""

    address: Address
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    opened: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    said: bytearray = field(default_factory=bytearray)  # last data of closed streams

    async def hold(self, source: str) -> None:
        """Hold a live stream until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*self.address, local_addr=(source, 0))
                try:
                    writer.write(FOLLOW)
                    self.opened.release()
                    self.said += (await reader.read())[-200:]
                finally:
                    writer.close()
            await asyncio.sleep(PAUSE_SECONDS)

    async def opens(self, number: int) -> None:
        """Wait until `number` more have been opened."""
        async with asyncio.timeout(60):
            for _ in range(number):
                await self.opened.acquire()


@contextlib.asynccontextmanager
async def attackers(address: Address, addresses: int, each: int) -> AsyncIterator[Attackers]:
    """Hold `each` live streams from every address; yield once all have been tried."""
    found = Attackers(address)
    for number in range(addresses):
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        found.tasks += [asyncio.create_task(found.hold(source)) for _ in range(each)]
    try:
        await found.opens(addresses * each)
        yield found
    finally:
        for task in found.tasks:
            task.cancel()
        await asyncio.wait(found.tasks)


FOLLOW = b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def answered(address: Address, source: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Open a connection on which an answer with status 200 begins, until the end of the block."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        writer.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode())
        async with asyncio.timeout(60):
            line = await reader.readline()
            assert line.startswith(b"HTTP/1.1 200 "), (path, line, await reader.read(2000))
        yield reader
    finally:
        writer.close()


async def test_a_browser_with_its_share_stays_and_one_that_makes_room_comes_back_later(attacked: SpawnedServer) -> None:
    address = Address.parse(attacked.address)
    async with attackers(address, 15, 12) as attack, contextlib.AsyncExitStack() as browsers:
        following = [answered(address, f"127.2.0.{number + 1}", "/api/stream") for number in range(5)]
        kept = [await browsers.enter_async_context(each) for each in following]
        await attack.opens(200)  # attackers reconnect at once, but do not displace others
        assert not [reader for reader in kept if reader.at_eof()]
    delays = [int(each) for each in re.findall(rb"retry: ([0-9]+)", bytes(attack.said))]
    assert [each for each in delays if 5000 <= each <= 15000], delays
