"""A `dejavu poll` process, and its output."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.programs.commands import python_m

SECONDS = 60.0
"""Timeout of every wait, generous for busy machines."""


class PollerProcess:
    """A poller in a process of its own, which prints JSON. By day it is preloaded, and SIGSTOP does not pause it.

    Attributes:
        process: the process.
        events: its output so far, each with the time of its arrival as `arrived`, in seconds.
    """

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*python_m("dejavu_cli"), "poll", "--json", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="poller-output", daemon=True)
        self._reader.start()

    def wait_for(self, event: str, where: Callable[[dict[str, Any]], bool] = lambda _: True, *, after: int = 0) -> int:
        """Wait for an event of that name for which `where` is true, after the first `after` ones; return its index.

        Raises:
            AssertionError: if there is none in time.
        """

        def found() -> int | None:
            matches = (n for n, each in enumerate(self.events) if n >= after and each["event"] == event and where(each))
            return next(matches, None)

        with self._more:
            self._more.wait_for(lambda: found() is not None, SECONDS)
            index = found()
        if index is None:
            raise AssertionError(f"no {event!r} after {after} events in {self.events}")
        return index

    def leads(self, *, after: int = 0) -> int:
        """Wait until it leads; return the index of the event that says so."""
        return self.wait_for("leadership", lambda each: each["role"] == "leading", after=after)

    def stands_by(self, *, after: int = 0) -> int:
        """Wait until it stands by; return the index of the event that says so."""
        return self.wait_for("leadership", lambda each: each["role"] == "standby", after=after)

    def send(self, number: signal.Signals) -> float:
        """Send a signal; return the time, by the clock of `arrived`."""
        self.process.send_signal(number)
        return time.monotonic()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.events.append({**json.loads(line), "arrived": time.monotonic()})
                self._more.notify_all()


@contextmanager
def poller_process(*arguments: str) -> Iterator[PollerProcess]:
    """Run a poller; kill it at the end if it still runs."""
    poller = PollerProcess(*arguments)
    try:
        yield poller
    finally:
        poller.process.kill()
        poller.process.wait()
        poller._reader.join(5)
        assert poller.process.stdout is not None
        poller.process.stdout.close()
