"""Limits of one browser: streams, sizes, hosts. Each refusal is clear, and others are still answered."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request
from tests.gateway.conftest import Site
from tests.support.fakes.service import Call, FakeServer, Silence
from tests.support.processes.gateway import running_gateway, spawned_gateway
from tests.support.processes.servers import running_worker

from dejavu.v1.prediction_service_pb2 import PredictBatchRequest
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ListPredictionsResponse
from dejavu_common.address import Address, share_of
from dejavu_gateway.cli import command
from dejavu_gateway.http.bodies import BodyMemory, read_body
from dejavu_gateway.http.origins import is_same_origin
from dejavu_gateway.messages.errors import RequestRefused
from dejavu_gateway.settings import TrustedProxies


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway with few streams."""
    web = tmp_path_factory.mktemp("web")
    (web / "large.txt").write_bytes(b"x" * 400_000)  # more than the kernel takes of an answer
    with running_worker(tmp_path_factory.mktemp("server")) as server:
        named = ("--trusted-proxy", "127.0.0.2/31", "--host", "Dejavu.example")
        limits = ("--web", str(web), "--stalled-seconds", "1", "--max-streams-per-address", "2", *named)
        with running_gateway(server, *limits) as gateway:
            yield Site(server, gateway.address)


def send(site: Site, request: bytes, *, source: str = "127.0.0.1") -> bytes:
    """Return all that the gateway answers to some bytes until it closes the connection."""
    with socket.create_connection(Address.parse(site.gateway), timeout=60, source_address=(source, 0)) as connection:
        connection.sendall(request)
        parts = list[bytes]()
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_streams_of_an_address_are_limited(tight: Site) -> None:
    request = b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n\r\n"
    address = Address.parse(tight.gateway)
    opened = [socket.create_connection(address, timeout=60) for _ in range(3)]
    try:
        for connection in opened[:2]:
            connection.sendall(request)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        opened[2].sendall(request)
        assert opened[2].recv(12) == b"HTTP/1.1 429"
        # Streams count for the address that a trusted proxy reports.
        proxied = (b"192.0.2.1", 200), (b"192.0.2.1", 200), (b"1.2.3.4, 192.0.2.2", 200), (b"192.0.2.2, 192.0.2.1", 429)
        for forwarded, status in proxied:
            opened.append(socket.create_connection(address, timeout=60, source_address=("127.0.0.2", 0)))
            opened[-1].sendall(request.replace(b"\r\n\r\n", b"\r\nx-forwarded-for: " + forwarded + b"\r\n\r\n"))
            assert opened[-1].recv(12) == b"HTTP/1.1 %d" % status
        # Texts that are no addresses count as the proxy: otherwise different ones would open any number of streams.
        for place, text in enumerate((b"", b"unknown", b"192.0.2.3, x", b"192.0.2.3,", b"999.1.1.1", b"9" * 4000)):
            opened.append(socket.create_connection(address, timeout=60, source_address=("127.0.0.3", 0)))
            opened[-1].sendall(request.replace(b"\r\n\r\n", b"\r\nx-forwarded-for: " + text + b"\r\n\r\n"))
            assert opened[-1].recv(12) == b"HTTP/1.1 %d" % (200 if place < 2 else 429)
        # The proxy can also report it in a second header, after the browser's.
        opened.append(socket.create_connection(address, timeout=60, source_address=("127.0.0.2", 0)))
        headers = b"\r\nx-forwarded-for: 192.0.2.9\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
        opened[-1].sendall(request.replace(b"\r\n\r\n", headers))
        assert opened[-1].recv(12) == b"HTTP/1.1 429"
    finally:
        for connection in opened:
            connection.close()
    with httpx.Client(timeout=60) as client:  # room again once they are gone
        asked = (client.get(f"http://{tight.gateway}/metrics").text for _ in range(1000))
        assert any('dejavu_dashboard_browsers{transport="sse"} 0.0' in text for text in asked)
        with client.stream("GET", f"http://{tight.gateway}/api/stream") as stream:
            assert stream.status_code == 200


def test_a_browser_that_reads_nothing_of_its_answer_is_disconnected(tight: Site) -> None:
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.settimeout(60)
        stalled.connect(Address.parse(tight.gateway))
        stalled.sendall(b"GET /large.txt HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(600):  # until the other side has closed it, although nothing was read
                stalled.sendall(b"x")
                time.sleep(0.1)
            pytest.fail("still connected")


def test_work_ends_with_the_browser_that_asked_for_it() -> None:
    """A client that asks and hangs up repeatedly must not cause unlimited work for the gateway and its server."""
    with FakeServer() as server, spawned_gateway("--target", server.target) as gateway:
        site = Site(server.target, gateway.address)
        server.answers("Predict", Silence())
        server.answers("ListPredictions", *[about_a_game_nothing] * 99)
        body = b'{"pattern":[1]}'
        head = b"POST /api/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        with socket.create_connection(Address.parse(site.gateway), timeout=60) as asking:
            asking.sendall(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
            predict = next_call(server, "Predict")
        assert predict.gone.wait(60)
        wait_for_count(site, 'endpoint="/api/predict",status="499"', 1)

        # A request after the first event of the stream does not share an answer begun before it.
        gateway.wait_for("status_changed", lambda entry: entry["streaming"])
        request = b"GET /api/games/9900000001 HTTP/1.1\r\nhost: localhost\r\n\r\n"
        with (
            socket.create_connection(Address.parse(site.gateway), timeout=60) as first,
            socket.create_connection(Address.parse(site.gateway), timeout=60) as second,
        ):
            first.sendall(request)
            history = next_call(server, "ListPredictions")
            second.sendall(request)
            site.get("/healthz")  # answered after the second request has been read
            first.close()
            wait_for_count(site, 'endpoint="/api/games/{gameId}",status="499"', 1)
            assert not history.gone.is_set()  # another one waits for the same answer
            second.close()
            assert history.gone.wait(60)
            wait_for_count(site, 'endpoint="/api/games/{gameId}",status="499"', 2)


WHAT_IF = '{{"requests": [{{"pattern": [{}]}}]}}'


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [
        ("/api/games/99000000{:02}", "", 6),
        pytest.param("/api/predictions?gameId=99000000{:02}", "", 6, marks=pytest.mark.nightly),
        pytest.param("/share/game/99000000{:02}.svg", "", 6, marks=pytest.mark.nightly),
        pytest.param("/api/games?date=2024-01-{:02}", "", 6, marks=pytest.mark.nightly),
        ("/api/predict-batch", WHAT_IF, 4),  # the server sees the gateway as one caller
    ],
)
def test_an_address_with_many_requests_keeps_no_other_waiting(path: str, body: str, most: int) -> None:
    def key(request: Any) -> str:
        if isinstance(request, PredictBatchRequest):
            return f"{request.requests[0].pattern[0]:02.0f}"
        return request.game_id[-2:] or request.from_date[-2:] if "2024" in request.from_date or request.game_id else ""

    def answer(request: ListPredictionsRequest) -> object:
        return Silence() if key(request) else ListPredictionsResponse()

    with FakeServer() as server, spawned_gateway("--target", server.target) as gateway, ExitStack() as stack:
        server.answers("ListPredictions", *[answer] * 99)
        server.answers("PredictBatch", *[Silence()] * 99)
        for number in range(1, 30):
            source = "127.0.0.5" if number < 29 else "127.0.0.6"
            address = Address.parse(gateway.address)
            asking = stack.enter_context(socket.create_connection(address, timeout=60, source_address=(source, 0)))
            sent, kind = body.format(number), "content-type: application/json\r\n"
            head = f"{'POST' if body else 'GET'} {path.format(number)} HTTP/1.1\r\nhost: localhost\r\n{kind}"
            asking.sendall(f"{head}content-length: {len(sent)}\r\n\r\n{sent}".encode())
        asked = list[str]()
        while "29" not in asked or len(asked) <= most:  # in no particular order: each came on its own connection
            call = server.next_call(20)
            if call.method in {"ListPredictions", "PredictBatch"} and key(call.request):
                asked.append(key(call.request))
        assert len(asked) == most + 1, asked


def test_addresses_that_ask_for_files_keep_no_other_waiting_and_at_most_two_files_are_made_at_a_time() -> None:
    """Formerly, each held a slot of the reads until it was complete: 36 of them stopped all others for 40 s."""

    def answer(request: ListPredictionsRequest) -> object:
        return ListPredictionsResponse() if request.game_id else Silence()

    with FakeServer() as server, spawned_gateway("--target", server.target) as gateway, ExitStack() as stack:
        server.answers("ListPredictions", *[answer] * 99)
        address = Address.parse(str(gateway.wait_for("listening")["address"]))
        head = "HTTP/1.1\r\nhost: localhost\r\n\r\n"
        for number in range(36):
            source = f"127.0.0.{10 + number % 6}"
            asking = stack.enter_context(socket.create_connection(address, timeout=60, source_address=(source, 0)))
            asking.sendall(f"GET /api/predictions.csv?team=BOS {head}".encode())
        of_files = 0
        while of_files < 2:
            of_files += server.next_call(20).method == "ListPredictions"
        asking = stack.enter_context(socket.create_connection(address, timeout=60, source_address=("127.0.0.5", 0)))
        asking.sendall(f"GET /api/predictions?gameId=9900000029 {head}".encode())
        while not (call := next_call(server, "ListPredictions")).request.game_id:
            of_files += 1
        assert of_files == 2
        assert call.request.game_id == "9900000029"


async def test_bodies_that_are_received_take_a_bounded_amount_of_memory() -> None:
    memory, hangs = BodyMemory(250_000), asyncio.Event()

    async def receive() -> dict[str, object]:
        if hangs.is_set():
            await asyncio.Event().wait()
        hangs.set()
        return {"type": "http.request", "body": b" " * 100_000 + b"1", "more_body": True}

    def read() -> asyncio.Task[object]:
        hangs.clear()
        return asyncio.create_task(read_body(Request(scope, receive), lambda value: value, 200_000, memory))

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    slow = []
    for _ in range(2):
        slow.append(read())
        await hangs.wait()
    with pytest.raises(RequestRefused, match="too many bodies"):
        await read()
    slow.pop().cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    slow.append(read())
    await hangs.wait()
    await asyncio.sleep(0)
    assert not slow[-1].done()
    for each in slow:
        each.cancel()


def about_a_game_nothing(request: ListPredictionsRequest) -> object:
    """Answer only requests that name no game, such as the gateway's for the board at its start."""
    return Silence() if request.game_id else ListPredictionsResponse()


def next_call(server: FakeServer, method: str) -> Call:
    """Return the next call of a method; for any method but Predict, one that names a game."""
    while True:
        call = server.next_call(60)
        if call.method == method and (method == "Predict" or call.request.game_id):
            return call


def wait_for_count(site: Site, labels: str, count: int) -> None:
    """Wait until `count` requests with these labels have ended."""
    asked = (site.get("/metrics").text for _ in range(1000))
    assert any(f"dejavu_dashboard_requests_total{{{labels}}} {count}.0" in text for text in asked)


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("dejavu.EXAMPLE", 200), ("attacker.example", 421), ("", 421)]
)
def test_only_known_hosts_are_answered(tight: Site, host: str, status: int) -> None:
    """A page of another site whose name points to this machine must not read the answers."""
    assert tight.get("/api/status", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "same"),
    [
        ("http://host:8080", "host:8080", "", True),
        ("http://host:8081", "host:8080", "", False),
        ("http://host", "host:8080", "", False),
        ("http://host:8080", "host", "", False),
        ("http://HOST", "host", "", True),
        ("https://host", "host", "", True),  # a proxy in front of it ends TLS
        ("https://host", "host:443", "", True),
        ("http://host", "host:443", "", False),
        ("https://host", "host", "https", True),
        ("http://host", "host", "https", False),
        ("http://[::1]:8080", "[::1]:8080", "http", True),
        ("http://host.example", "host", "", False),
        ("http://host@other", "host", "", False),
        ("null", "", "", False),
        ("", "", "", False),
        ("ws://host", "host", "", False),
        ("http://host:port", "host", "", False),
        ("http://[host", "host", "", False),
    ],
)
def test_an_origin_is_scheme_name_and_port(origin: str, host: str, scheme: str, same: bool) -> None:
    assert is_same_origin(origin, host, scheme) is same


def test_all_addresses_of_one_customer_count_as_one() -> None:
    assert share_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64" == share_of("2001:db8:1:2::9")
    assert share_of("::ffff:192.0.2.1") == "192.0.2.1"


def test_sizes_are_limited(site: Site) -> None:
    big = site.post("/api/predict", {"modelVersion": "x" * 20_000})
    assert (big.status_code, big.json()["error"]["reason"]) == (413, "BODY_TOO_LARGE")
    assert send(site, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 20_000).startswith(b"HTTP/1.1 400 ")
    query = site.get("/api/stream?" + "&".join(["current=1"] * 300))
    assert (query.status_code, query.json()["error"]["reason"]) == (400, "TOO_MANY_PARAMETERS")
    deep = httpx.post(
        f"http://{site.gateway}/api/predict", content=b"[" * 10_000, headers={"content-type": "application/json"}
    )
    assert (deep.status_code, deep.json()["error"]["reason"]) == (400, "INVALID_JSON")
    packed = httpx.post(
        f"http://{site.gateway}/api/predict",
        content=b"x",
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    )
    assert (packed.status_code, packed.json()["error"]["reason"]) == (415, "UNSUPPORTED_ENCODING")
    assert site.get("/api/status").json()["reason"] == "OK"


@pytest.mark.parametrize(
    ("query", "field"),
    [("?game=12", "game"), ("?current=yes", "current"), ("?resume=%C3%BC", "resume"), ("?games=1", "games")],
)
def test_a_wrong_parameter_of_a_stream_is_named(site: Site, query: str, field: str) -> None:
    answer = site.get(f"/api/stream{query}")
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["error"]["fields"]] == [field]


def test_a_gateway_that_others_reach_warns() -> None:
    with spawned_gateway("--listen", "0.0.0.0:0", "--target", "127.0.0.1:1") as gateway:
        assert "reverse proxy" in gateway.wait_for("reachable_by_others")["advice"]
        port = Address.parse(gateway.wait_for("listening")["address"]).port
        assert Site("", f"127.0.0.1:{port}").get("/healthz", headers={"host": "any.example"}).status_code == 200
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--trusted-proxy", "proxy.example"), "does not appear to be an IPv4 or IPv6 network"),
        *((("--allow-origin", each), "is no origin") for each in ("https://x/y", "ftp://x", "null", "https://u@x")),
        (("--max-connections", "0"), "greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_named(arguments: tuple[str, str], text: str) -> None:
    result = CliRunner().invoke(command(), ["--target", "127.0.0.1:1", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert text in " ".join(result.output.split())


def test_an_address_that_is_taken_is_said_and_ends_the_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with spawned_gateway("--listen", listen, "--target", "127.0.0.1:1") as gateway:
            assert gateway.exit_code() == 1
            assert gateway.wait_for("cannot_listen")["listen"] == listen


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),  # at a socket of both families
        ("10.9.0.1", True),
        ("10.2.0.1", False),
        ("192.0.2.7", True),
        ("fd00::5", True),
        ("fd01::5", False),
        ("", False),
    ],
)
def test_proxies_are_addresses_or_networks(address: str, trusted: bool) -> None:
    assert (
        address in TrustedProxies.parse(["10.1.0.0/16", "192.0.2.7", "::ffff:10.9.0.0/112", "fd00::/64"])
    ) is trusted


def test_without_a_server_nothing_is_ready_and_its_address_is_told_to_no_browser() -> None:
    with spawned_gateway("--target", "127.0.0.1:1") as gateway:
        of_server, of_protocol = ("api/predictions", "api/games"), ("v2", "v2/health/live", "v2/models/dejavu/ready")
        paths, address = (*of_server, *of_protocol, "v2/models/dejavu"), gateway.address
        with ThreadPoolExecutor() as threads:  # each tries for seconds to reach the server
            answers = threads.map(lambda path: httpx.get(f"http://{address}/{path}", timeout=60), paths)
            for path, answer in zip(paths, answers, strict=True):
                assert (answer.status_code, list(answer.json())) == (503, ["error"]), path
                assert path in of_protocol or "the server cannot be reached" in answer.text, path
                assert "127.0.0.1" not in answer.text, path
