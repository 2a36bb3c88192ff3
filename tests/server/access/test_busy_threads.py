"""Replaced files of tokens and certificates are read while other work takes all common threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import AccessScope, Unauthenticated

LIST_MODELS = "/dejavu.v1.ModelService/ListModels"

pytestmark = pytest.mark.usefixtures("_busy_threads")


@pytest.fixture
async def _busy_threads() -> AsyncIterator[None]:
    """Take the common threads of the event loop, as reads of a store that stalls do."""
    ended, threads = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(ended.wait, 60)
    yield
    ended.set()


async def test_a_revoked_token_is_refused(tmp_path: Path) -> None:
    path, reloaded = tmp_path / "tokens.json", asyncio.Event()
    bearer = f"Bearer {token_file.create(path, 'alice', (AccessScope.READ,), utc_now())}"
    authenticator = Authenticator(path, None, on_reload=lambda *_: reloaded.set())
    assert authenticator.authorize(LIST_MODELS, bearer).identity == "token:alice"
    authenticator.start(lambda: None)
    try:
        token_file.revoke(path, "alice", utc_now())
        async with asyncio.timeout(20):
            await reloaded.wait()
    finally:
        await authenticator.close()
    with pytest.raises(Unauthenticated):
        authenticator.authorize(LIST_MODELS, bearer)
