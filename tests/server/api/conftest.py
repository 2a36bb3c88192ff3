from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dejavu_client import AsyncDejavuClient
from dejavu_server.worker.worker import Worker


@pytest.fixture
async def client(worker: Worker) -> AsyncIterator[AsyncDejavuClient]:
    """A client of `worker`, whose model repeats the last differential."""
    async with AsyncDejavuClient(worker.address, timeout=30.0) as client:
        yield client
