"""Blocking work beside the event loop, which nobody has to wait for in the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[..., T], *arguments: str) -> T:
    """Runs `work` in a thread of its own and returns or raises what it does.

    Cancelling leaves the thread to itself. It is a daemon, so that neither the loop's end nor the interpreter's waits
    for it; an executor's threads are joined at exit, and one that hangs in a socket or in DNS takes its time.
    """
    done = Future[T]()
    done.set_running_or_notify_cancel()  # from here on the thread may always set it

    def run() -> None:
        try:
            done.set_result(work(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="beside the loop", daemon=True).start()
    return await asyncio.wrap_future(done)
