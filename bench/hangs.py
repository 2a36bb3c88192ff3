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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.result import program
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
class Report:
    """Results of a run."""

    hangs: list[Noticed] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)

    def breaches(self) -> list[str]:
        """Describe the failed checks; empty if all pass."""
        late = [f"{each.fault}: {each.killed} s" for each in self.hangs if each.killed > HANG_SECONDS + LATEST_SECONDS]
        late += [f"{each.name}: no call was answered" for each in self.quiet if not each.answered]
        return late + [f"{each.name}: {each.killed} killed" for each in self.quiet if each.killed]


class Callers:
    """Calls that keep all parts of the workers busy: batches, named forecasts, scorecards.

    Attributes:
        answered: calls that were answered.
    """

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._seed = seed
        self._stop = threading.Event()
        self.answered = 0

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call during the block."""
        threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _call(self, number: int) -> None:
        choose = random.Random(f"{self._seed}-{number}")
        game = 0
        with DejavuClient(self._address, timeout=30.0) as client:
            while not self._stop.is_set():
                game += 1
                pattern = [float(choose.randint(-20, 20)) for _ in range(18)]
                try:
                    client.predict(pattern, horizon=HALFTIME, game_id=f"99{number:02d}{game:06d}")
                    client.predict_batch([predict_request([*pattern, float(each)]) for each in range(40)])
                    client.get_scorecard()
                    self.answered += 3
                except DejavuClientError:
                    pass  # the worker was killed
                self._stop.wait(0.05)


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
    with spawned_server(*arguments, environment=hanging(folder), standby=True) as server:
        callers = Callers(server.address, options.seed)
        with callers.calling():
            time.sleep(5)  # a worker that ran for at least 5 s is replaced without delay
            for name, loops in ((IDLE, 0), (BUSY, LOOPS)):
                report.quiet.append(quiet(server, callers, name, loops, options.seconds))
            for fault in (STOPPED, *PARTS) * options.rounds:
                report.hangs.append(notice(server, fault, choose.choice(server.workers).pid))
                time.sleep(6)  # for the same reason: a worker that ran for less is replaced only after a delay
    return report


def report(result: Report, _: float) -> str:
    """Format the results for people."""
    quiet = [
        f"{each.name:28} load {each.load:4}, {each.answered} calls answered, killed: {each.killed}"
        for each in result.quiet
    ]
    hangs = [
        f"{each.fault:16} unready {each.unready:5} s, killed {each.killed:5} s, succeeded {each.succeeded:5} s"
        for each in result.hangs
    ]
    return "\n".join([*quiet, *hangs])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program."""
    parser.add_argument("--rounds", type=int, default=3, help="how often each fault is tried")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each of the two phases without a hang")


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    return program(arguments, show, description="makes workers hang", run=run, report=report, add_options=add_options)


if __name__ == "__main__":
    sys.exit(main())
