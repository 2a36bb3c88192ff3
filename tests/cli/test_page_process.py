"""The page that `dejavu poll --page` runs: it is started again where it was when it dies."""

from __future__ import annotations

import asyncio
import urllib.request

import psutil
import pytest
from tests.support.processes.servers import async_worker

from dejavu_cli.server_process import NotStarted, running_page


def gateway() -> psutil.Process:
    """Return the process of the page."""
    [found] = [each for each in psutil.Process().children() if "dejavu_gateway" in each.cmdline()]
    return found


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}healthz", timeout=30) as answer:
        return bool(answer.status == 200)


@pytest.mark.nightly
async def test_a_page_that_was_killed_is_back_at_the_same_address_and_gone_at_the_end(tmp_path: object) -> None:
    told = asyncio.Queue[str]()
    async with async_worker(tmp_path) as worker:  # type: ignore[arg-type]
        async with running_page(worker.address, "--listen", "127.0.0.1:0", tell=told.put_nowait) as url:
            first = gateway()
            first.kill()
            async with asyncio.timeout(60):
                assert await told.get() == "The page ended (exit code -9); it is started again."
                assert await told.get() == f"The page is back at {url}"
            assert await asyncio.to_thread(answers, url)
            second = gateway()
            assert second.pid != first.pid
        assert not second.is_running()
    assert told.empty()


async def test_a_page_that_cannot_start_is_told_with_its_reason() -> None:
    with pytest.raises(NotStarted, match="no-such-host"):
        async with running_page("127.0.0.1:1", "--listen", "no-such-host:1", tell=print):
            pass
