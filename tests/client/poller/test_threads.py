"""Blocking work in daemon threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from dejavu_client.poller.reads import in_daemon_thread


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    assert await in_daemon_thread(str.upper, "a") == "A"
    with pytest.raises(ValueError, match="invalid literal"):
        await in_daemon_thread(int, "a")


async def test_cancelling_leaves_the_thread_to_itself() -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(10)
        ended.set()

    task = asyncio.create_task(in_daemon_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 10)


def test_neither_the_loop_nor_the_interpreter_waits_for_it_in_the_end() -> None:
    program = """
import asyncio, time
from dejavu_client.poller.reads import in_daemon_thread

async def main():
    task = asyncio.create_task(in_daemon_thread(lambda: time.sleep(600)))
    await asyncio.sleep(0.05)
    task.cancel()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
