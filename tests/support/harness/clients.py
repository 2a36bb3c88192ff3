"""Both clients behind one interface, to run one set of tests on both; their fixtures; the type of a command runner."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any, Self

import pytest
from tests.support.fakes.service import FakeServer
from typer.testing import Result

from dejavu_client import AsyncDejavuClient, CallStatistics, DejavuClient, StreamPredictionsResponse


class AnyClient(ABC):
    """Asynchronous interface of either client."""

    client: DejavuClient | AsyncDejavuClient

    @property
    def stats(self) -> CallStatistics:
        return self.client.stats

    @abstractmethod
    async def call(self, method: str, *args: Any, **options: Any) -> Any: ...

    @abstractmethod
    async def all(self, method: str, *args: Any, most: int | None = None, **options: Any) -> list[Any]: ...

    @abstractmethod
    def stream(self, *args: Any, **options: Any) -> AsyncGenerator[StreamPredictionsResponse, None]: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Synchronous(AnyClient):
    """A DejavuClient whose calls run in threads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client: DejavuClient = DejavuClient(*args, **options)

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, method), *args, **options)

    async def all(self, method: str, *args: Any, most: int | None = None, **options: Any) -> list[Any]:
        results = getattr(self.client, method)(*args, **options)
        return await asyncio.to_thread(list, islice(results, most))

    async def stream(self, *args: Any, **options: Any) -> AsyncGenerator[StreamPredictionsResponse, None]:
        events = self.client.stream_predictions(*args, **options)
        try:
            while (event := await asyncio.to_thread(next, events, None)) is not None:
                yield event
        finally:
            await asyncio.to_thread(events.close)

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)


class Asynchronous(AnyClient):
    """An AsyncDejavuClient."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client: AsyncDejavuClient = AsyncDejavuClient(*args, **options)

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        return await getattr(self.client, method)(*args, **options)

    async def all(self, method: str, *args: Any, most: int | None = None, **options: Any) -> list[Any]:
        results = list[Any]()
        async for each in getattr(self.client, method)(*args, **options):
            results.append(each)
            if len(results) == most:
                break
        return results

    def stream(self, *args: Any, **options: Any) -> AsyncGenerator[StreamPredictionsResponse, None]:
        return self.client.stream_predictions(*args, **options)

    async def close(self) -> None:
        await self.client.close()


CLIENTS: dict[str, type[Synchronous] | type[Asynchronous]] = {"sync": Synchronous, "async": Asynchronous}

Run = Callable[..., Result]
"""Runs `dejavu` with arguments; returns its output and exit code."""

Output = Callable[..., str]
"""Runs `dejavu` with arguments, after the server's answer; returns what it prints."""


MakeClient = Callable[..., AnyClient]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture(params=CLIENTS)
async def connect(request: pytest.FixtureRequest, server: FakeServer) -> AsyncIterator[MakeClient]:
    """Create clients of one kind, by default for the fake server, and close them."""
    made = list[AnyClient]()

    def make(target: str | None = None, **options: object) -> AnyClient:
        made.append(CLIENTS[request.param](target or server.target, **options))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.fixture(autouse=True)
def client_log_as_it_was() -> Iterator[None]:
    """Reset the client's log handlers and level, which commands change."""
    yield
    logger = logging.getLogger("dejavu_client")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
