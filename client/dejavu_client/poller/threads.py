"""Runs blocking work in daemon threads, which never delay the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[..., T], *arguments: str) -> T:
    """Runs `work` in its own thread. Returns its result or raises its exception.

    Cancellation abandons the thread. It is a daemon thread, so that neither the event loop nor the interpreter waits
    for it at exit; an executor's threads are joined at exit, and one that hangs in a socket or in DNS delays it.
    """
    done = Future[T]()
    done.set_running_or_notify_cancel()  # from here on the thread can always set the result

    def run() -> None:
        try:
            done.set_result(work(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="dejavu-blocking-work", daemon=True).start()
    return await asyncio.wrap_future(done)
