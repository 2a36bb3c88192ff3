"""Fixtures: a fake server and both clients."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import CLIENTS, AnyClient

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
