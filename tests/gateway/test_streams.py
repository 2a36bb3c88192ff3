"""Live events of a gateway: each once and in order, whatever dies, and however a browser comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import SpawnedServer, async_worker, spawned_server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient, market, predict_request, total_market
from dejavu_common.address import Address
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

SECONDS = 60.0


class FollowingBrowser:
    """Follows a gateway's server-sent events as a browser does: after a lost connection it resumes by the last id.

    Attributes:
        sequences: sequences of all events, in the order in which they came.
        texts: their data.
        statuses: all statuses.
        resets: all resets.
        reset_at: number of events before the last reset.
        games: all states of games.
        priced: all forecasts with prices.
        last_id: the last id.
        connections: number of connections so far.
    """

    def __init__(self, address: str, query: str = "") -> None:
        self._url = f"http://{address}/api/stream{query}"
        self.sequences: list[int] = []
        self.texts: list[str] = []
        self.statuses: list[dict[str, Any]] = []
        self.resets: list[dict[str, Any]] = []
        self.reset_at = 0
        self.games: list[dict[str, Any]] = []
        self.priced: list[dict[str, Any]] = []
        self.last_id = ""
        self.connections = 0
        self._more = asyncio.Condition()

    async def until(self, holds: Callable[[FollowingBrowser], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(SECONDS), self._more:
            await self._more.wait_for(lambda: holds(self))

    async def follow(self) -> None:
        """Follow until cancelled."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(SECONDS)) as client:
            while True:
                headers = {"last-event-id": self.last_id} if self.last_id else {}
                try:
                    async with client.stream("GET", self._url, headers=headers) as response:
                        assert response.status_code == 200, await response.aread()
                        self.connections += 1
                        await self._read(response)
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def _read(self, response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if not line:
                async with self._more:
                    self._dispatch(fields)
                    self._more.notify_all()
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")

    def _dispatch(self, fields: dict[str, str]) -> None:
        self.last_id = fields.get("id", self.last_id)
        data = fields.get("data")
        if data is None:
            return
        value = json.loads(data)
        match fields["event"]:
            case "prediction":
                self.sequences.append(int((value.get("forecast") or value["outcome"])["sequence"]))
                self.texts.append(data)
            case "status":
                self.statuses.append(value)
            case "reset":
                self.resets.append(value)
                self.reset_at = len(self.sequences)
            case "game":
                self.games.append(value)
            case "priced":
                self.priced.append(value)


@asynccontextmanager
async def following(address: str, query: str = "") -> AsyncIterator[FollowingBrowser]:
    """Run a browser, which is at a position of the stream when the block begins."""
    browser = FollowingBrowser(address, query)
    task = asyncio.create_task(browser.follow())
    try:
        await browser.until(lambda each: bool(each.last_id) or task.done())
        yield browser
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Recorder:
    """Records forecasts, each of another game."""

    def __init__(self, client: AsyncDejavuClient) -> None:
        self.client = client
        self.sequences: list[int] = []
        self._number = 0

    async def record(self, count: int) -> None:
        """Record more forecasts, in one call."""
        games = [game(self._number + each) for each in range(count)]
        self._number += count
        requests = [predict_request(PATTERN, horizon=HALFTIME, game_id=each) for each in games]
        results = await self.client.predict_batch(requests, timeout=60)
        self.sequences += [each.forecast.sequence for each in results]


def has_all(recorder: Recorder) -> Callable[[FollowingBrowser], bool]:
    return lambda browser: bool(browser.sequences) and browser.sequences[-1] >= recorder.sequences[-1]


async def ready(gateway: SpawnedServer) -> str:
    await asyncio.to_thread(gateway.wait_for, "status_changed", lambda entry: entry["reason"] == "OK")
    return str(gateway.wait_for("listening")["address"])


@asynccontextmanager
async def evening(folder: Path, *options: str, **settings: Any) -> AsyncIterator[tuple[Recorder, str, SpawnedServer]]:
    """Run a server and a gateway; yield a recorder, the gateway's address and the gateway."""
    async with (
        async_worker(folder, heartbeat_seconds=0.2, **settings) as worker,
        AsyncDejavuClient(worker.address) as client,
    ):
        with spawned_gateway("--target", worker.address, *options) as gateway:
            yield Recorder(client), await ready(gateway), gateway


async def test_every_event_comes_once_and_in_order_across_kills_of_a_worker_and_of_the_gateway(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with spawned_server("--workers", "2", "--ledger", ledger) as server:
        async with AsyncDejavuClient(server.address) as client:
            recorder = Recorder(client)
            with spawned_gateway("--target", server.address) as first:
                address = await ready(first)
                async with following(address) as browser, following(address) as other:
                    await recorder.record(20)
                    await browser.until(has_all(recorder))
                    server.workers[0].kill()
                    await recorder.record(20)
                    for each in (browser, other):
                        await each.until(has_all(recorder))
                    recording = asyncio.create_task(recorder.record(200))
                    first.process.kill()
                    await recording
                    with spawned_gateway("--target", server.address, "--listen", address):
                        await recorder.record(20)
                        for each in (browser, other):
                            await each.until(has_all(recorder))
                            # The new gateway does not know the position: it says so, and sends the newest forecasts.
                            assert [one["error"]["reason"] for one in each.resets] == ["POSITION_UNKNOWN"]
                            before, again = each.sequences[: each.reset_at], each.sequences[each.reset_at :]
                            assert before == recorder.sequences[: len(before)]
                            assert len(before) >= 40
                            assert again == recorder.sequences  # each of another game


async def test_a_browser_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    """It goes on from its last event, or from the board that it had asked for; with one of another ledger, anew."""
    async with evening(tmp_path, "--demo") as (recorder, address, _):
        async with following(address) as browser, httpx.AsyncClient(timeout=60) as client:
            await recorder.record(3)
            await browser.until(has_all(recorder))
            board = (await client.get(f"http://{address}/api/games")).json()
            token = browser.last_id
        assert len(board["games"]) == 3
        await recorder.record(5)
        for each in (token, board["resumeToken"]):
            async with following(address, f"?resume={each}") as again:
                await again.until(has_all(recorder))
                assert again.sequences == recorder.sequences[3:]
                assert not again.resets
        async with following(address, "?resume=b3RoZXI") as other:
            await other.until(has_all(recorder))
            await recorder.record(2)
            await other.until(has_all(recorder))
            assert [each["error"]["reason"] for each in other.resets] == ["POSITION_UNKNOWN"]
            assert other.sequences == recorder.sequences


def state(number: int, **fields: Any) -> Game:
    """Return the state of a game that begins now."""
    values: dict[str, Any] = {
        "status": GameStatus.GAME_STATUS_LIVE,
        "period": 1,
        "tip_off_time": utc_now(),
        "observed_time": utc_now(),
    }
    return Game(game_id=game(number), home_team="BOS", away_team="LAL", **(values | fields))


async def test_states_of_games_reach_browsers_and_answers_and_again_after_the_gateway_was_killed(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path, "--demo") as (recorder, address, gateway):
        client = recorder.client
        await client.publish_games([state(0, home_score=2), state(1)])
        await recorder.record(1)
        async with following(address) as browser, following(address, f"?game={game(1)}") as one:
            await browser.until(lambda each: len(each.games) == 2)
            await client.publish_games([state(0, home_score=5)])
            await browser.until(lambda each: len(each.games) == 3)
            assert [each["homeScore"] for each in browser.games if each["gameId"] == game(0)] == [2, 5]
            assert [each["gameId"] for each in one.games] == [game(1)]
            gateway.process.kill()
            gateway.process.wait()
            with spawned_gateway("--target", _target(gateway), "--listen", address, "--demo"):
                await browser.until(lambda each: len(each.games) == 5)
                async with httpx.AsyncClient(timeout=60) as asking:
                    board = (await asking.get(f"http://{address}/api/games")).json()
                    unforecast = (await asking.get(f"http://{address}/api/games/{game(1)}")).json()
    assert [(each["gameId"], each["forecasts"], each["state"]["homeScore"]) for each in board["games"]] == [
        (game(0), 1, 5),
        (game(1), 0, 0),
    ]
    assert (unforecast["predictions"], unforecast["state"]["period"]) == ([], 1)


async def test_recorded_prices_reach_browsers_and_the_board_without_an_event_of_their_own(tmp_path: Path) -> None:
    winner, total = market(0, -160, 140), total_market(221.5, 1.91, 1.91)
    async with evening(tmp_path, "--demo", shipped=True) as (recorder, address, _), following(address) as browser:
        for minute, prices in ((30, [winner, total]), (31, [total]), (32, [])):
            request = predict_request([2.0] * minute, horizon=FINAL, game_id=game(0), total_points=150, markets=prices)
            [result] = await recorder.client.predict_batch([request], timeout=60)
            recorder.sequences.append(result.forecast.sequence)
            await browser.until(has_all(recorder))
        await browser.until(lambda each: bool(each.priced))
        async with httpx.AsyncClient(timeout=60) as asking:
            [on_board] = (await asking.get(f"http://{address}/api/games")).json()["games"]
    assert [each["forecast"]["elapsedMinutes"] for each in browser.priced] == [30]
    assert on_board["priced"] == browser.priced[0]
    assert on_board["newest"]["final"]["forecast"]["elapsedMinutes"] == 32
    kinds = [each["answer"]["kind"] for each in on_board["priced"]["markets"]]
    assert kinds == ["MARKET_KIND_LEAD", "MARKET_KIND_TOTAL"]


def _target(gateway: SpawnedServer) -> str:
    return str(gateway.wait_for("listening")["target"])


async def test_a_browser_may_follow_some_games_and_start_with_the_newest_forecasts(tmp_path: Path) -> None:
    async with evening(tmp_path) as (recorder, address, _):
        await recorder.record(4)
        async with (
            following(address, "?current=1") as browser,
            following(address, f"?game={game(5)}&game={game(1)}&current=1") as some,
        ):
            await browser.until(has_all(recorder))
            await recorder.record(3)
            await browser.until(has_all(recorder))
            assert browser.sequences == recorder.sequences
            await some.until(lambda each: len(each.sequences) == 2)
            assert some.sequences == [recorder.sequences[1], recorder.sequences[5]]
            token = some.last_id
        async with following(address, f"?resume={token}&game={game(8)}&game={game(6)}") as resumed:
            await recorder.record(3)
            await resumed.until(lambda each: len(each.sequences) == 2)
            assert resumed.sequences == [recorder.sequences[6], recorder.sequences[8]]


async def test_a_slow_browser_is_cut_off_and_resumes_without_loss_while_others_get_everything(tmp_path: Path) -> None:
    async with evening(tmp_path, "--stalled-seconds", "2") as (recorder, address, _), following(address) as browser:
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(Address.parse(address))
            token = browser.last_id
            stalled.sendall(f"GET /api/stream?resume={token} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            await recorder.record(200)
            await browser.until(has_all(recorder))
            assert browser.sequences == recorder.sequences
            await _until_closed(stalled)
        async with following(address, f"?resume={token}") as again:
            await again.until(has_all(recorder))
            assert again.sequences == recorder.sequences


async def _until_closed(stalled: socket.socket) -> None:
    """Wait until the other side has dropped a connection, without reading from it."""
    stalled.setblocking(False)
    async with asyncio.timeout(60):
        while True:
            try:
                stalled.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                return
            await asyncio.sleep(0.1)


async def test_events_and_messages_of_a_websocket_are_those_of_the_rpc(tmp_path: Path) -> None:
    async with evening(tmp_path) as (recorder, address, gateway):
        async with (
            AsyncDejavuClient(_target(gateway)) as client,
            connect(f"ws://{address}/api/ws") as socket_,
            following(address) as browser,
        ):
            stream = client.stream_predictions(heartbeats=True)
            assert (await anext(stream)).HasField("heartbeat")
            first = json.loads(await socket_.recv())
            assert (first["event"], first["data"]["reason"]) == ("status", "OK")
            await recorder.record(3)
            await client.report_outcome(game(0), 5, horizon=HALFTIME)
            expected, found = list[dict[str, Any]](), list[dict[str, Any]]()
            while len(expected) < 4:
                event = await anext(stream)
                if not event.HasField("heartbeat"):
                    expected.append(MessageToDict(event, always_print_fields_with_no_presence=True))
            await browser.until(lambda each: len(each.texts) == 4)
            while len(found) < 4:
                message = json.loads(await asyncio.wait_for(socket_.recv(), 30))
                if message["event"] == "prediction":
                    found.append(message)
            assert [json.loads(text) for text in browser.texts] == [each["data"] for each in found] == expected
            assert browser.last_id == found[-1]["id"] == expected[-1]["resumeToken"]
        async with connect(f"ws://{address}/api/ws?resume={found[1]['id']}") as resumed:
            events = [json.loads(await asyncio.wait_for(resumed.recv(), 30)) for _ in range(4)]
            assert [each["event"] for each in events[:2]] == ["status", "position"]
            assert [each["id"] for each in events[2:]] == [each["id"] for each in found[2:]]
        async with connect(f"ws://{address}/api/ws") as talking:
            await talking.send("hello")
            await asyncio.wait_for(talking.recv(), 30)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(_read_on(talking), 30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008


async def test_a_message_that_is_no_text_ends_its_websocket_and_fills_no_log(tmp_path: Path) -> None:
    no_text = bytes([0x81, 0x82, 0, 0, 0, 0, 0xFF, 0xFE])  # a masked text frame
    async with evening(tmp_path) as (_, address, gateway):
        async with connect(f"ws://{address}/api/ws") as socket_:
            await socket_.recv()
            socket_.transport.write(no_text)
            await asyncio.wait_for(socket_.wait_closed(), 30)
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.exit_code) == 0
        assert not gateway.other_lines
        assert not [event for event in gateway.events if event["level"] == "error"]


async def _read_on(socket_: ClientConnection) -> None:
    while True:
        await socket_.recv()


async def test_a_drain_ends_streams_with_a_pause_and_the_gateway_with_success(tmp_path: Path) -> None:
    async with evening(tmp_path) as (_, address, gateway):
        reader, writer = await asyncio.open_connection(*Address.parse(address))
        writer.write(b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await reader.readuntil(b"event: status")
        async with connect(f"ws://{address}/api/ws") as socket_:
            await socket_.recv()
            gateway.process.send_signal(signal.SIGTERM)
            rest = await asyncio.wait_for(reader.read(), 30)
            assert b"\r\nretry: " in rest
            assert rest.endswith(b"0\r\n\r\n")
            await asyncio.wait_for(socket_.wait_closed(), 30)
        writer.close()
        assert await asyncio.to_thread(gateway.exit_code) == 0
        assert not gateway.other_lines


async def test_browsers_are_told_when_the_server_goes_and_when_it_is_back(tmp_path: Path) -> None:
    async with async_worker(tmp_path, heartbeat_seconds=0.2) as worker:
        target = worker.address
        with spawned_gateway("--target", target) as gateway:
            address = await ready(gateway)
            async with following(address) as browser:
                await worker.drain()
                await browser.until(lambda each: each.statuses[-1]["reason"] == "SERVER_GONE")
                assert not browser.statuses[-1]["serving"]
                async with async_worker(tmp_path, heartbeat_seconds=0.2, listen=target) as again:
                    await browser.until(lambda each: each.statuses[-1]["reason"] == "OK")
                    async with AsyncDejavuClient(again.address) as client:
                        recorder = Recorder(client)
                        await recorder.record(2)
                        await browser.until(has_all(recorder))
                        assert browser.connections == 1


async def test_browsers_are_told_when_the_token_is_refused_and_when_it_is_renewed(tmp_path: Path) -> None:
    tokens, file = tmp_path / "tokens.json", tmp_path / "token"
    token_file.create(tokens, "poller", tuple(AccessScope), utc_now())
    file.write_text("djv_unknown")
    async with async_worker(tmp_path, tokens=str(tokens), heartbeat_seconds=0.2) as worker:
        with spawned_gateway("--target", worker.address, "--token-file", str(file)) as gateway:
            await asyncio.to_thread(gateway.wait_for, "status_changed", lambda each: each["reason"] == "TOKEN_REJECTED")
            address = str(gateway.wait_for("listening")["address"])
            async with httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
                answer = await client.get("/api/models")
                assert (answer.status_code, answer.json()["error"]["code"]) == (502, "UNAUTHENTICATED")
                file.write_text(token_file.create(tokens, "page", (AccessScope.READ,), utc_now()))
                await ready(gateway)
                assert (await client.get("/api/models")).status_code == 200
