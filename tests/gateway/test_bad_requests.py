"""Bad requests by the hundred: each gets a clear 4xx, none a 500, and no traceback is logged."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from tests.gateway.conftest import Site
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import spawned_gateway

from dejavu_common.address import Address

PATHS = (
    "/", "/api/stream", "/api/ws", "/api/status", "/api/games", f"/api/games/{game(0)}", "/api/predict",
    "/api/predict-batch", "/api/assess-risk", "/api/predictions", f"/api/predictions/{game(0)}", "/api/scorecard",
    "/api/leaderboard", "/api/models", "/api/checkpoint", "/api/stats", "/share/game/1.svg", "/assets/x.js",
    "/healthz", "/openapi.json", "/v2", "/v2/models/dejavu", "/v2/models/dejavu/versions/1/ready",
    "/v2/models/dejavu/infer",
)  # fmt: skip
PIECES = (
    b"\x00", b"\xff\xfe", b"%00", b"%ff", b"../", b"..%2f", b"{", b"}", b"[", b'"', b"\\ud800", b"'", b"<script>",
    b"\r\n", b"\r\n\r\n", b" ", b"?", b"&", b"=", b";", b"#", b"null", b"NaN", b"1e999", b"-1", b"9" * 400,
    b"x" * 3000, b"\xc2\xb2", b"pattern", b"gameId", b"pageToken=", b"date=", b"game=", b"resume=", b"horizon=3",
)  # fmt: skip
BODIES: tuple[object, ...] = (
    {"pattern": [*PATTERN]},
    {"pattern": [], "alpha": 2},
    {"requests": [{}] * 3},
    {"pattern": [1], "market": {"line": 0.25}},
    [],
    None,
    {"requests": "x"},
    {"pattern": [1e38] * 18, "horizon": 7},
    {"modelVersion": "\ud800"},
    {"inputs": [{"name": "pattern", "shape": [-1, 2**70], "datatype": "INT8", "data": [[1], [2, "x"]]}]},
    {"inputs": [], "id": "\ud800", "parameters": {"alpha": []}},
)


def bad_request(chance: random.Random) -> bytes:
    """Return a request that is wrong in one way or, mostly, in several."""
    path = chance.choice(PATHS).encode()
    method = chance.choice((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"BREW"))
    if chance.random() < 0.5:
        path += b"?" + b"".join(chance.choice(PIECES) for _ in range(chance.randint(0, 4)))
    if chance.random() < 0.3:
        at = chance.randrange(len(path))
        path = path[:at] + chance.choice(PIECES) + path[at:]
    body = b""
    if method == b"POST" or chance.random() < 0.2:
        body = json.dumps(chance.choice(BODIES)).encode()
        for _ in range(chance.randint(0, 2)):
            at = chance.randrange(len(body) + 1)
            body = body[:at] + chance.choice(PIECES) + body[at + chance.randint(0, 3) :]
    headers = [b"host: localhost", b"connection: close"]
    if body:
        headers.append(b"content-type: " + chance.choice((b"application/json", b"application/json", b"text/plain")))
        length = len(body) if chance.random() < 0.9 else chance.choice((0, 1, 10**20))
        headers.append(b"content-length: %d" % length)
    if chance.random() < 0.2:
        headers.append(
            chance.choice((b"last-event-id: ", b"if-none-match: ", b"accept-encoding: ")) + chance.choice(PIECES)
        )
    if chance.random() < 0.1:
        headers += [b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: " + chance.choice(PIECES)]
        headers[1] = b"connection: upgrade"
    if chance.random() < 0.05:
        headers.append(
            chance.choice((b"host: other", b"transfer-encoding: chunked", b"content-length: 3", b"no colon"))
        )
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, path, b"\r\n".join(headers), body)


async def outcome(address: Address, request: bytes) -> int:
    """Send a request; return the status, 0 if the connection was closed without an answer. Leave streams at once."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(60):
            line = await reader.readline()
            if not line:
                return 0
            status = int(line.split()[1])
            if status >= 400 and not request.startswith(b"HEAD"):
                answer = await reader.readuntil(b"\r\n\r\n")
                if b"application/json" in answer:
                    answer = await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].split()[0]))
                    error = json.loads(answer)["error"]
                    assert isinstance(error, str) or error["code"], (request, answer)
                    message = error if isinstance(error, str) else error["message"]  # Open Inference Protocol: a text
                    assert message, (request, answer)
                    assert "Traceback" not in message, (request, answer)
                else:  # uvicorn answers what is no request, its WebSocket library what opens no WebSocket
                    assert status == 400 or b"upgrade: websocket" in request, (request, answer)
            return status
    except ConnectionError:  # closed before it had read all
        return 0
    finally:
        writer.close()


async def is_ended(address: Address, path: bytes, *, answered: bool) -> bool:
    """Send a request whose body is none, at once or after the answer began; return whether the connection ends."""
    reader, writer = await asyncio.open_connection(*address)
    head = b"GET %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % path
    try:
        writer.write(head if answered else head + b"no chunk\r\n")
        async with asyncio.timeout(60):
            assert await reader.readline()
            if answered:
                writer.write(b"no chunk\r\n")
            await reader.read()
        return True
    finally:
        writer.close()


async def attack(address: Address, seed: int, count: int) -> Counter[int]:
    """Send bad requests; return the number of answers by status."""
    chance, found = random.Random(seed), Counter[int]()
    for _ in range(count):
        request = bad_request(chance)
        status = await outcome(address, request)
        assert status < 500, (status, request)
        found[status] += 1
    return found


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
async def test_bad_requests_get_a_clear_answer_and_leave_no_trace(site: Site, build: Path, count: int) -> None:
    with spawned_gateway("--target", site.server, "--web", str(build)) as gateway:
        listening = await asyncio.to_thread(gateway.wait_for, "listening")
        await asyncio.to_thread(gateway.wait_for, "status_changed", lambda entry: entry["reason"] == "OK")
        address = Address.parse(listening["address"])
        for path, answered in product((b"/openapi.json", b"/api/stream", b"/api/games"), (False, True)):
            assert await is_ended(address, path, answered=answered)
        found = await attack(address, count, count)
        assert found[400] > count / 10, found
        assert found[0] < count / 5, found
        assert gateway.stop() == 0
        assert not gateway.other_lines, gateway.log()
        assert not [each for each in gateway.events if each["level"] == "error"], gateway.log()
