"""Reads in threads: given up in time whatever the feed does, in a stated number of threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba import NbaFeed
from dejavu_poller.reads import MAX_THREADS, DaemonThreads, read_in_thread

DRIPS = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
"""Bytes that a server sends at once, and bytes that it then repeats."""
SECONDS = 0.2


@pytest.mark.parametrize("drip", DRIPS)
async def test_dripping_headers_are_given_up_in_time_and_the_next_answer_is_read(drip: str) -> None:
    begin, more = DRIPS[drip]
    asked, over, answered = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked.is_set():
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{"scoreboard": {"games": []}}')
        else:
            asked.set()
            writer.write(begin)
            while not over.is_set():
                writer.write(more)
                await asyncio.sleep(SECONDS / 10)
        writer.close()
        await writer.wait_closed()
        answered.release()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with NbaFeed(f"http://127.0.0.1:{port}", limit=SECONDS) as feed:
            with pytest.raises(FeedUnavailable, match=r"no answer within 0\.2 s"):
                await read_in_thread(feed.scoreboard, seconds=SECONDS)
            await asked.wait()
            assert (await read_in_thread(feed.scoreboard)).games == ()
        over.set()
        for _ in range(2):
            await answered.acquire()


async def test_no_more_threads_than_stated_read_at_once_and_the_next_read_waits_for_one() -> None:
    release, threads, begun = threading.Event(), DaemonThreads(2), list[int]()

    def hanging() -> None:
        begun.append(threading.get_ident())
        release.wait(20)

    for _ in range(4):
        with pytest.raises(FeedUnavailable, match="no answer within"):
            await read_in_thread(hanging, seconds=SECONDS, threads=threads)
    assert len(begun) == 2
    release.set()
    free = await read_in_thread(threading.get_ident, threads=threads)
    assert free in begun, "a free thread is used again; what was given up while it waited is not read"
    assert len(begun) == 2
    assert MAX_THREADS == 208


def test_a_program_ends_although_a_read_hangs() -> None:
    program = """if True:
        import asyncio, threading
        from dejavu_feed.errors import FeedUnavailable
        from dejavu_poller.reads import read_in_thread
        try:
            asyncio.run(read_in_thread(threading.Event().wait, seconds=0.1))
        except FeedUnavailable as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no answer within 0.1 s\n"
