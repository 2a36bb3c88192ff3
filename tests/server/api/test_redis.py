"""A Redis that servers share: used while it works, never an obstacle, and trusted only for answers of the servers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.fakes.what_ifs import LEADS
from tests.support.processes.redis_server import RedisProcess
from tests.support.processes.servers import async_worker

from dejavu.ops.v1 import cache_service_pb2 as cache_pb
from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import AsyncDejavuClient, UnavailableError
from dejavu_server.api.cache import redis_store
from dejavu_server.api.cache.redis_store import sealed

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")


class Server(NamedTuple):
    """A client of a worker, and the model that computes its answers."""

    client: AsyncDejavuClient
    model: PersistenceForecaster

    async def ask(self, number: float = 0.0) -> Forecast:
        """Return the answer to a what-if that is distinct for each number."""
        return await self.client.predict([*LEADS, 11 + number])

    async def until(self, state: cache_pb.SharedCacheState.ValueType) -> None:
        async with asyncio.timeout(60):
            while (await self.client.get_cache_stats()).shared_state != state:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)


USED, FAILED = cache_pb.SHARED_CACHE_STATE_USED, cache_pb.SHARED_CACHE_STATE_FAILED


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture
def shared(running: RedisProcess) -> RedisProcess:
    if not running.answers():
        running.start()
    running.client().flushall()
    return running


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for Redis than a server does, so that a busy machine does not change the results."""
    monkeypatch.setattr(redis_store, "WAIT_SECONDS", 5.0)
    monkeypatch.setattr(redis_store, "EXCHANGE_SECONDS", 10.0)


@asynccontextmanager
async def servers(
    folder: Path, *urls: str, version: str = "persistence", **changes: Any
) -> AsyncIterator[list[Server]]:
    """Run a server for each URL, each with a ledger and a model of its own."""
    async with AsyncExitStack() as stack:
        made = []
        for number, url in enumerate(urls):
            (home := folder / f"{number}-{version}").mkdir()
            model = PersistenceForecaster(version)
            worker = await stack.enter_async_context(async_worker(home, model, cache=url, **changes))
            client = AsyncDejavuClient(worker.address, timeout=30.0)
            made.append(Server(await stack.enter_async_context(client), model))
            model.groups.clear()  # those of the start
        yield made


async def kept(shared: RedisProcess, number: int) -> None:
    """Wait until Redis has this number of answers: servers do not wait for their writes."""
    async with asyncio.timeout(90):
        while len(shared.entries()) < number:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def found(server: Server, numbers: range) -> int:
    """Return how many of some what-ifs a server answers without computing them."""
    before = len(server.model.groups)
    for number in numbers:
        await server.ask(number)
    return len(numbers) - (len(server.model.groups) - before)


@pytest.mark.usefixtures("patient")
async def test_what_one_server_computed_another_does_not_compute_again(tmp_path: Path, shared: RedisProcess) -> None:
    async with servers(tmp_path, shared.url, shared.url) as (one, other):
        answers = [await one.ask(number) for number in range(20)]
        await kept(shared, 20)
        assert await found(other, range(20)) == 20
        assert [await other.ask(number) for number in range(20)] == answers, "times included"
        assert 0 < shared.client().pttl(shared.entries()[0]) <= 60_000


@pytest.mark.usefixtures("patient")
async def test_servers_of_other_models_or_settings_share_nothing(tmp_path: Path, shared: RedisProcess) -> None:
    async with servers(tmp_path, shared.url) as (one,), servers(tmp_path, shared.url, version="another") as (another,):
        (tmp_path / "more").mkdir()
        async with servers(tmp_path / "more", shared.url, adaptive="shadow") as (adaptive,):
            await found(one, range(10))
            await kept(shared, 10)
            assert await found(another, range(10)) == 0
            assert await found(adaptive, range(10)) == 0
            assert {(await another.ask(number)).model_version for number in range(10)} == {"another"}


@pytest.mark.usefixtures("patient")
async def test_clearing_on_one_server_clears_both(tmp_path: Path, shared: RedisProcess) -> None:
    async with servers(tmp_path, shared.url, shared.url) as (one, other):
        await found(one, range(5))
        await found(other, range(5))
        assert (await one.client.clear_cache()).entries == 5, "those of its own workers"
        assert await found(one, range(5)) == 0
        token = shared.client().get("dejavu:cache:token")
        async with asyncio.timeout(90):
            while (await other.client.get_cache_stats()).entries:  # noqa: ASYNC110 - it reads the token once a second
                await asyncio.sleep(0.05)
        assert shared.client().get("dejavu:cache:token") == token


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("secret", [b"", b"sixteen bytes or more"])
async def test_damaged_and_foreign_entries_count_as_missing(
    tmp_path: Path, shared: RedisProcess, secret: bytes
) -> None:
    """With a secret, nobody else can make up or move answers."""
    path = tmp_path / "secret"
    path.write_bytes(secret)
    async with servers(tmp_path, shared.url, shared.url, cache_secret=str(path) if secret else "") as (one, other):
        await found(one, range(4))
        await kept(shared, 4)
        keys = shared.entries()
        values = [shared.value(key) for key in keys]
        changed = [
            values[0][:-1],
            values[1][:50] + bytes([values[1][50] ^ 1]) + values[1][51:],
            b"\x80\x04garbage",
            b"",
        ]
        if secret:
            changed[2:] = [sealed(b"", keys[2], values[2][32:]), values[0]]
        for key, value in zip(keys, changed, strict=True):
            shared.client().set(key, value, keepttl=True)
        assert await found(other, range(4)) == 0
        assert [(await other.ask(number)).point_forecast for number in range(4)] == [11, 12, 13, 14]


@pytest.mark.usefixtures("patient")
async def test_a_server_answers_without_redis_and_uses_it_again_later(tmp_path: Path, shared: RedisProcess) -> None:
    async with servers(tmp_path, shared.url) as (server,):
        await server.until(USED)
        with capture_logs() as log:
            shared.kill()
            for number in range(10):
                assert (await server.ask(number)).point_forecast == 11 + number
            await server.until(FAILED)
        lines = [line["event"] for line in log if line["log_level"] in {"warning", "error"}]
        assert lines == ["shared_cache_failed"], "told once, whoever noticed it"
        assert await found(server, range(10)) == 10, "what is in memory stays"
        with pytest.raises(UnavailableError) as cleared:
            await server.client.clear_cache(timeout=2)
        assert cleared.value.reason == "SHARED_CACHE_UNAVAILABLE"
        assert (await server.client.get_cache_stats()).entries == 0
        shared.start()
        await server.until(USED)
        await server.ask()
        await kept(shared, 1)


@pytest.mark.nightly
async def test_a_redis_without_answers_is_left_alone(tmp_path: Path, shared: RedisProcess) -> None:
    async with servers(tmp_path, shared.url) as (server,):
        await server.until(USED)
        shared.client().client_pause(5000)
        for number in range(6):
            assert (await server.ask(number)).point_forecast == 11 + number
        await server.until(FAILED)
        await server.until(USED)


async def test_a_server_starts_without_the_redis_that_it_is_told(tmp_path: Path) -> None:
    async with servers(tmp_path, f"unix://{tmp_path}/none.sock") as (server,):
        assert (await server.client.get_cache_stats()).shared_state == FAILED
        assert (await server.ask()) == (await server.ask())
