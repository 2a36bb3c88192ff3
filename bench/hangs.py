"""Makes workers of a real server hang, and measures how soon they are replaced; counts wrong kills on a busy machine.

Run with `python -m bench.hangs` from the project's folder. Callers keep all parts of the two workers of a server
busy, while:

- nothing hangs, for `--seconds`: no worker may be killed. First as a control, then together with LOOPS processes that
  run endless loops;
- again and again a random worker is stopped (SIGSTOP), or one of its threads hangs: measures the seconds until it
  reports that it is not ready, until it is killed, and until its successor serves.

Exits with 1 if a hang is noticed later than HANG_SECONDS + 3 s, or if a worker is killed while nothing hangs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.result import Result, program
from tests.support.processes.hangs import PARTS, hang, hanging
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import HALFTIME, DejavuClient, predict_request
from dejavu_client.errors import DejavuClientError

STOPPED = "stopped"
CALLERS = 4
IDLE = "nothing hangs"
BUSY = "nothing hangs, busy machine"

LOOPS = 20
"""Processes that run endless loops on the busy machine."""

HANG_SECONDS = 5.0
"""`--hang-seconds` of the server: its default."""

LATEST_SECONDS = 3.0
"""How much later than HANG_SECONDS a hang may be noticed: the hanging part must first get a task, and worker and
supervisor each check once a second."""


@dataclass
class Noticed:
    """When a hang was noticed, in seconds after it began.

    Attributes:
        fault: STOPPED, or the part that hung.
        unready: until readiness fell; 0 if the worker could not say so itself.
        killed: until the worker was killed.
        succeeded: until its successor served.
    """

    fault: str
    unready: float
    killed: float
    succeeded: float


@dataclass
class Quiet:
    """What happened while nothing hung.

    Attributes:
        name: IDLE or BUSY.
        load: load average of the last minute at the end.
        answered: calls that were answered.
        killed: workers that were killed.
    """

    name: str
    load: float
    answered: int
    killed: int


@dataclass
class Report(Result):
    """Results of a run."""

    hangs: list[Noticed] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)

    def breaches(self) -> list[str]:
        """Describe the failed checks; empty if all pass."""
        late = [f"{each.fault}: {each.killed} s" for each in self.hangs if each.killed > HANG_SECONDS + LATEST_SECONDS]
        late += [f"{each.name}: no call was answered" for each in self.quiet if not each.answered]
        return late + [f"{each.name}: {each.killed} killed" for each in self.quiet if each.killed]

    def report(self) -> str:
        """Return a line for each phase without a hang, and for each hang."""
        return "\n".join(map(str, (*self.quiet, *self.hangs)))


class Callers:
    """Calls that keep all parts of the workers busy: batches, named forecasts, scorecards.

    Attributes:
        answered: calls that were answered.
        stop: ends each caller after its current calls.
    """

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._seed = seed
        self.stop = threading.Event()
        self.answered = 0

    def call(self, number: int) -> None:
        """Run one caller until it is stopped."""
        choose = random.Random(f"{self._seed}-{number}")
        with DejavuClient(self._address, timeout=30.0) as client:
            for game in count():
                pattern = [float(choose.randint(-20, 20)) for _ in range(18)]
                with suppress(DejavuClientError):  # the worker was killed
                    client.predict(pattern, horizon=HALFTIME, game_id=f"99{number:02d}{game:06d}")
                    client.predict_batch([predict_request([*pattern, float(each)]) for each in range(40)])
                    client.get_scorecard()
                    self.answered += 3
                if self.stop.wait(0.05):
                    return


def notice(server: SpawnedServer, fault: str, pid: int) -> Noticed:
    """Make a worker hang; return when the hang was noticed."""
    known = {entry["worker"] for entry in server.events if entry["event"] == "serving"}
    start = time.monotonic()
    unready = 0.0
    if fault == STOPPED:
        os.kill(pid, signal.SIGSTOP)
    else:
        hang(pid, fault)
        server.wait_for("part_stalled", lambda entry: entry["worker"].endswith(f"-{pid}"))
        unready = time.monotonic() - start
    server.wait_for("worker_hung", lambda entry: entry["pid"] == pid)
    killed = time.monotonic() - start
    server.wait_for("serving", lambda entry: entry["worker"] not in known)
    return Noticed(fault, round(unready, 2), round(killed, 2), round(time.monotonic() - start, 2))


def quiet(server: SpawnedServer, callers: Callers, name: str, loops: int, seconds: float) -> Quiet:
    """Let a server work for some seconds, together with `loops` processes that run endless loops."""
    before, kills = callers.answered, _kills(server)
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        time.sleep(seconds)
        load = os.getloadavg()[0]
    finally:
        for each in running:
            each.kill()
            each.wait()
    return Quiet(name, round(load, 1), callers.answered - before, _kills(server) - kills)


def _kills(server: SpawnedServer) -> int:
    return sum(entry["event"] in {"worker_hung", "worker_died"} for entry in server.events)


def run(options: argparse.Namespace, folder: Path) -> Report:
    """Run the faults on one server; return what was measured."""
    report = Report()
    choose = random.Random(options.seed)
    ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
    arguments = ("--workers", "2", "--hang-seconds", str(HANG_SECONDS), "--ledger", ledger)
    with (
        spawned_server(*arguments, environment=hanging(folder), standby=True) as server,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        callers = Callers(server.address, options.seed)
        threads.map(callers.call, range(CALLERS))
        try:
            time.sleep(5)  # a worker that ran for at least 5 s is replaced without delay
            for name, loops in ((IDLE, 0), (BUSY, LOOPS)):
                report.quiet.append(quiet(server, callers, name, loops, options.seconds))
            for fault in (STOPPED, *PARTS) * options.rounds:
                report.hangs.append(notice(server, fault, choose.choice(server.workers).pid))
                time.sleep(6)  # for the same reason: a worker that ran for less is replaced only after a delay
        finally:
            callers.stop.set()
    return report


if __name__ == "__main__":
    sys.exit(program(__doc__, run, rounds=3, seconds=60.0))
