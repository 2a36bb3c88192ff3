"""The page that `dejavu poll --page` runs: it is started again where it was when it dies."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

import psutil
import pytest
from tests.support.processes.servers import async_worker

from dejavu_cli.server_process import FIRST_RESTART_SECONDS, running_page

PROGRAM: Final = """
import asyncio, functools
from dejavu_cli.server_process import running_page
async def main():
    async with running_page("127.0.0.1:1", "--listen", "127.0.0.1:0", tell=functools.partial(print, flush=True)):
        await asyncio.Event().wait()
asyncio.run(main())
"""


def gateway() -> psutil.Process:
    """Return the process of the page."""
    [found] = [
        each for each in psutil.Process().children() if {"dejavu_cli.child", "dejavu_gateway"} < {*each.cmdline()}
    ]
    return found


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}healthz", timeout=30) as answer:
        return bool(answer.status == 200)


@pytest.mark.nightly
async def test_a_page_that_was_killed_is_back_at_the_same_address_and_gone_at_the_end(tmp_path: Path) -> None:
    told = asyncio.Queue[str]()
    async with async_worker(tmp_path) as worker, asyncio.timeout(120):
        async with running_page(worker.address, "--listen", "127.0.0.1:0", tell=told.put_nowait):
            served = await told.get()
            first = gateway()
            first.kill()
            assert await told.get() == "The page ended (exit code -9); it is started again."
            assert await told.get() == served
            assert await asyncio.to_thread(answers, served.removeprefix("Page at "))
            second = gateway()
            assert second.pid != first.pid
        assert not second.is_running()
    assert told.empty()


async def test_a_page_that_cannot_start_is_told_once_and_tried_again_until_it_can() -> None:
    told = asyncio.Queue[str]()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = "--listen", f"127.0.0.1:{taken.getsockname()[1]}"
        async with running_page("127.0.0.1:1", *listen, tell=told.put_nowait), asyncio.timeout(120):
            assert "does not start, and is tried again: " in await told.get()
            await asyncio.sleep(FIRST_RESTART_SECONDS)
            taken.close()
            assert await told.get() == f"Page at http://{listen[1]}/"
    assert told.empty()


def test_a_page_ends_with_a_program_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        address = program.stdout.readline()
        [page] = psutil.Process(program.pid).children()
        program.kill()
    assert "Page at " in address
    psutil.wait_procs([page], timeout=30)
    assert not page.is_running()
