"""Starts servers and measures how long they take until they serve, their CPU time until then, and their memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.start.processes import ProcessUse, processes_of

PACKAGES = ("client", "model_store", "protos/gen", "server", "trainer")
"""Folders of a source tree that hold its packages."""

CALLED_SECONDS = 5.0
"""Time between the start and the measurement of memory, so that parts that the server starts later are running."""


@dataclass(frozen=True)
class Start:
    """One start of a server.

    Attributes:
        workers: number of its workers.
        first_seconds: time until the first worker served.
        seconds: time until all of them served.
        cpu_seconds: CPU time of all its processes until then.
        replaced_seconds: time from the death of a worker until its successor serves.
        replaced_cpu_seconds: CPU time of the successor until then.
        processes: its processes some seconds later, after calls.
    """

    workers: int
    first_seconds: float
    seconds: float
    cpu_seconds: float
    replaced_seconds: float
    replaced_cpu_seconds: float
    processes: list[ProcessUse]

    def pss(self, role: str) -> list[float]:
        """Return the proportional set size of each process of a role, in MiB."""
        return [each.pss_mib for each in self.processes if each.role == role]


def prepare(folder: Path, tree: Path | None = None) -> None:
    """Start and end a server, so that its ledger in a folder and the bytecode of its modules exist.

    Args:
        folder: the folder.
        tree: see `measure`.
    """
    with _server(folder, 1, tree, ()) as (process, _):
        _Log(process).until("listening")


def measure(
    workers: int, folder: Path, *, tree: Path | None = None, calls: int = 200, options: Sequence[str] = ()
) -> Start:
    """Start a server, call it, kill a worker, and end it.

    Args:
        workers: number of its workers.
        folder: folder of its ledger.
        tree: source tree to run it from; None: the packages that are installed or on PYTHONPATH.
        calls: number of forecasts before memory is measured.
        options: further options of the server.
    """
    with _server(folder, workers, tree, options) as (process, began):
        log = _Log(process)
        log.until("serving")
        first = time.monotonic() - began
        address = log.until("listening")["address"]
        seconds = time.monotonic() - began
        cpu = sum(each.cpu_seconds for each in processes_of(process.pid, log.workers))
        time.sleep(CALLED_SECONDS)
        _call(address, calls)
        processes = processes_of(process.pid, log.workers)
        victim = max(log.workers)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        log.until("serving")
        replaced = time.monotonic() - killed
        successor = max(log.workers, key=log.order.index)
        replaced_cpu = next(
            each.cpu_seconds for each in processes_of(process.pid, {successor}) if each.pid == successor
        )
    return Start(workers, first, seconds, cpu, replaced, replaced_cpu, processes)


@contextmanager
def _server(
    folder: Path, workers: int, tree: Path | None, options: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], float]]:
    environment = dict(os.environ)
    if tree is not None:
        environment["PYTHONPATH"] = os.pathsep.join(str(tree / package) for package in PACKAGES)
    own = ("--listen", "127.0.0.1:0", "--log-format", "json", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}")
    began = time.monotonic()
    command = (sys.executable, "-P", "-m", "dejavu_server", *own, "--workers", str(workers), *options)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as process:
        try:
            yield process, began
        finally:
            process.terminate()


class _Log:
    """The log of a server, read as far as needed.

    Attributes:
        workers: process ids of the workers that have served.
        order: the same process ids, in the order in which they began to serve.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.order: list[int] = []

    @property
    def workers(self) -> set[int]:
        return set(self.order)

    def until(self, event: str) -> dict[str, Any]:
        """Read until an event; return its entry.

        Raises:
            RuntimeError: if the server ends before.
        """
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("event") == "serving":
                self.order.append(int(entry["worker"].partition("-")[2]))
            if entry.get("event") == event:
                return dict(entry)
        raise RuntimeError(f"the server ended before {event!r}:\n{''.join(lines)}")


def _call(address: str, calls: int) -> None:
    from dejavu_client import DejavuClient  # only now: its threads would disturb the start

    for number in range(calls):
        with DejavuClient(address, timeout=20.0) as client:  # a connection each, so that every worker gets some
            client.predict([float((number * minute) % 7) for minute in range(18)], explain=True)


def summary(starts: Sequence[Start]) -> dict[str, float]:
    """Return the figures of several starts with the same number of workers: medians of times, means of memory."""
    roles = {role: [sum(start.pss(role)) for start in starts] for role in ("supervisor", "spare", "worker")}
    return {
        "workers": starts[0].workers,
        "first_seconds": median(start.first_seconds for start in starts),
        "seconds": median(start.seconds for start in starts),
        "cpu_seconds": median(start.cpu_seconds for start in starts),
        "replaced_seconds": median(start.replaced_seconds for start in starts),
        "replaced_cpu_seconds": median(start.replaced_cpu_seconds for start in starts),
        "worker_pss_mib": mean(max(start.pss("worker")) for start in starts),
        "workers_pss_mib": mean(roles["worker"]),
        "spare_pss_mib": mean(roles["spare"]),
        "supervisor_pss_mib": mean(roles["supervisor"]),
        "server_pss_mib": mean(sum(each) for each in zip(*roles.values(), strict=True)),
    }
