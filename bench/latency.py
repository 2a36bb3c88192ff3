"""What a Predict costs beside a bare grpc.aio echo with the same messages: latency, calls a second, CPU, memory.

And what it costs with every extra (explanation, the teams' strength, nine quantiles) beside a plain one.

Run with `python -m bench.latency` from the project's folder. A `dejavu-server --workers 1` and the echo server are
processes of their own, kept on one CPU; the callers are a third, kept on another. Everything is measured in turn, round
after round, so that a busy machine slows all alike: the ratios of one run compare with those of another, the
milliseconds don't. The exit code is 1 if any call fails, and with `--most-cpu 2` also if, where the callers are most, a
what-if takes more than twice the echo's CPU, with `--most-extra 1.5` if one with every extra takes more than 1.5 times
a plain one's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from bench.load import METHOD, Order, Taken, request
from tests.support.processes.servers import spawned_server

from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import MAX_SLOTS
from dejavu_server.ledger import Ledger

ECHO, WHAT_IF, EXTRAS, NAMED, RETRY = "echo", "what-if", "every extra", "named", "named, a retry"
KINDS = (ECHO, WHAT_IF, EXTRAS, NAMED, RETRY)


@dataclass(frozen=True, slots=True)
class Sample:
    """One kind of call in one round; all per call but the rate.

    Attributes:
        p50_ms, p99_ms: latency as the caller sees it.
        calls_a_second: over all callers.
        cpu_us: what the server's process used, user and system, in microseconds.
        failed: how many calls got no answer.
    """

    callers: int
    kind: str
    p50_ms: float
    p99_ms: float
    calls_a_second: float
    cpu_us: float
    failed: int


COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "calls_a_second": "calls a second",
    "cpu_us": "server CPU, µs a call",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    Attributes:
        address: where it answers.
        process: the process that answers.
        others: what runs beside it: of a `dejavu-server`, the supervisor and the spare process.
    """

    address: str
    process: psutil.Process
    others: tuple[psutil.Process, ...] = ()

    def cpu_seconds(self) -> float:
        """What the process has used so far; whole hundredths of a second."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def pss_mib(self) -> float:
        """Memory of the process that answers, with its share of what others hold too, in MiB."""
        return float(self.process.memory_full_info().pss) / 2**20

    def all_pss_mib(self) -> float:
        """Memory of all its processes, in MiB."""
        return self.pss_mib() + sum(float(other.memory_full_info().pss) for other in self.others) / 2**20


class Callers:
    """The process that asks (see `bench.load`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, order: Order) -> Taken:
        """Has an order carried out."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the callers were started without pipes")
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the callers ended; what they died of is above")
        return Taken(**json.loads(line))


@contextmanager
def helper(module: str, cpus: set[int]) -> Iterator[subprocess.Popen[str]]:
    """A module of this folder as a process that lives until its standard input is closed."""
    command = [sys.executable, "-m", module]
    with kept_on(cpus):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:  # on leaving, its pipes are closed, and its end is waited for
        yield process


@contextmanager
def kept_on(cpus: set[int]) -> Iterator[None]:
    """What is started inside stays on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def made(ledger: str) -> None:
    """Makes an empty ledger."""
    await (await Ledger.open(ledger)).close()


@contextmanager
def dejavu_server(cpus: set[int], bundle: Path) -> Iterator[Server]:
    """A server with one worker and a ledger of its own."""
    with ExitStack() as stack:
        ledger = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/ledger.sqlite3"
        asyncio.run(made(ledger))  # what a worker loads to make one, it does not load again
        with kept_on(cpus):
            own = ("--workers", "1", "--ledger", ledger, "--bundle", str(bundle), "--allow-unfit")
            server = stack.enter_context(spawned_server(*own))
        address = server.address
        [worker] = server.workers
        supervisor = psutil.Process(server.process.pid)
        yield Server(address, worker, (supervisor, *(each for each in supervisor.children() if each != worker)))


@contextmanager
def echo_server(cpus: set[int], answer: bytes) -> Iterator[Server]:
    """An echo that answers with these bytes."""
    with helper("bench.echo", cpus) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the echo was started without pipes")
        print(answer.hex(), file=process.stdin, flush=True)
        yield Server(process.stdout.readline().strip(), psutil.Process(process.pid))


def order_of(kind: str, address: str, callers: int, first: int, options: argparse.Namespace) -> Order:
    """The calls of one kind."""
    return Order(
        address=address,
        callers=callers,
        calls=options.calls,
        first=first,
        named=kind in (NAMED, RETRY),
        extras=kind == EXTRAS,
        minutes=options.minutes,
        seed=options.seed,
    )


def one_answer(address: str, options: argparse.Namespace) -> bytes:
    """What a server answers to a what-if, as it is on the wire."""
    with grpc.insecure_channel(address) as channel:
        body = request(0, order_of(WHAT_IF, address, 1, 0, options)).SerializeToString()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        return call(body, timeout=30.0, wait_for_ready=True)


def sample(callers: Callers, server: Server, kind: str, order: Order) -> Sample:
    """Measures one kind of call, once."""
    before = server.cpu_seconds()
    taken = callers.ask(order)
    used = server.cpu_seconds() - before
    hundredths = statistics.quantiles(taken.each, n=100, method="inclusive") if len(taken.each) > 1 else [0.0] * 99
    return Sample(
        callers=order.callers,
        kind=kind,
        p50_ms=1e3 * hundredths[49],
        p99_ms=1e3 * hundredths[98],
        calls_a_second=len(taken.each) / taken.seconds,
        cpu_us=1e6 * used / order.calls,
        failed=taken.failed,
    )


def measure(callers: Callers, servers: dict[str, Server], options: argparse.Namespace) -> list[list[Sample]]:
    """The samples of each round; the first warms everything up, and records what the others retry."""
    rounds = []
    first = 0
    for number in range(options.rounds + 1):
        samples = []
        # There and back again: what drifts over a round helps each as often as it harms it.
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            for count in options.callers:
                # Every round names new games, but for the retries: they are of those that were named first.
                start = 0 if kind == RETRY else first
                order = order_of(kind, servers[kind].address, count, start, options)
                samples.append(sample(callers, servers[kind], kind, order))
                if kind == NAMED:
                    first += options.calls
        rounds.append(samples)
    return rounds


def ratios(rounds: list[list[Sample]], count: int, kind: str, figure: str, base: str = ECHO) -> list[float]:
    """A kind's figure over that of another, of each round in which the other's is not 0."""
    found = []
    for samples in rounds:
        of = {each.kind: float(getattr(each, figure)) for each in samples if each.callers == count}
        if of[base]:
            found.append(of[kind] / of[base])
    return found


def cell(rounds: list[list[Sample]], count: int, kind: str, figure: str) -> str:
    """A figure's median over the rounds; beside it its ratio to the echo's, with the least and the most."""
    value = statistics.median(
        getattr(each, figure) for samples in rounds for each in samples if (each.callers, each.kind) == (count, kind)
    )
    text = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    over = ratios(rounds, count, kind, figure)
    return text if kind == ECHO or not over else f"{text} {spread(over)}"


def spread(found: list[float]) -> str:
    """Ratios for people: their median, with the least and the most."""
    return f"× {statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}]" if found else "not measured"


def too_much(rounds: list[list[Sample]], count: int, kind: str, base: str, most: float | None) -> bool:
    """Whether a kind's CPU, at so many callers, is not known to be at most so many times that of another."""
    found = ratios(rounds, count, kind, "cpu_us", base)
    return most is not None and (not found or statistics.median(found) > most)


def extra_cpu(rounds: list[list[Sample]], count: int) -> list[float]:
    """What a what-if with every extra takes over a plain one."""
    return ratios(rounds, count, EXTRAS, "cpu_us", WHAT_IF)


def show(rounds: list[list[Sample]], memory: dict[str, float], counts: list[int]) -> None:
    """Prints the tables."""
    print("medians of rounds; × the echo's of the same round: median [least, most]")
    for count in counts:
        print(f"\n{f'{count} callers' if count > 1 else '1 caller':16}", *(f"{each:>30}" for each in COLUMNS.values()))
        for kind in KINDS:
            print(f"{kind:16}", *(f"{cell(rounds, count, kind, figure):>30}" for figure in COLUMNS))
        print(f"server CPU with every extra, beside a plain what-if's: {spread(extra_cpu(rounds, count))}")
    print(
        f"\nmemory (PSS): worker {memory['worker']:.0f} MiB (with supervisor and spare {memory['server']:.0f} MiB), "
        f"echo {memory['echo']:.0f} MiB"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16], help="numbers of callers")
    parser.add_argument("--calls", type=int, default=2000, help="calls of each kind in each round")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that count, after one that does not")
    parser.add_argument("--seed", type=int, default=0, help="of the patterns asked about")
    parser.add_argument(
        "--bundle", type=Path, default=default_bundle(), metavar="DIR", help="default: the one that ships"
    )
    parser.add_argument("--most-cpu", type=float, metavar="RATIO", help="the most a what-if's CPU may be × the echo's")
    parser.add_argument(
        "--most-extra", type=float, metavar="RATIO", help="the most that every extra's may be × a plain's"
    )
    parser.add_argument(
        "--minutes", type=int, nargs="+", default=[18], metavar="M", help="minutes of the game, 1 to 47, asked in turn"
    )
    parser.add_argument("--json", action="store_true", help="print every sample, for machines")
    options = parser.parse_args(arguments)
    if not all(1 <= minute <= MAX_SLOTS for minute in options.minutes):
        parser.error(f"argument --minutes: {options.minutes} are not all from 1 to {MAX_SLOTS}")

    available = sorted(os.sched_getaffinity(0))
    serving, asking = {available[0]}, {available[-1]}
    with ExitStack() as stack:
        callers = Callers(stack.enter_context(helper("bench.load", asking)))
        server = stack.enter_context(dejavu_server(serving, options.bundle))
        echo = stack.enter_context(echo_server(serving, one_answer(server.address, options)))
        warm_up, *rounds = measure(callers, {**dict.fromkeys(KINDS, server), ECHO: echo}, options)
        memory = {"worker": server.pss_mib(), "server": server.all_pss_mib(), "echo": echo.pss_mib()}

    failed = sum(each.failed for samples in (warm_up, *rounds) for each in samples)
    crowd = max(options.callers)
    broken = too_much(rounds, crowd, WHAT_IF, ECHO, options.most_cpu)
    broken |= too_much(rounds, crowd, EXTRAS, WHAT_IF, options.most_extra)
    if options.json:
        report: dict[str, Any] = {"rounds": [[asdict(each) for each in samples] for samples in rounds]}
        print(json.dumps({**report, "pss_mib": memory, "failed": failed}))
    else:
        show(rounds, memory, options.callers)
        print(f"calls that failed: {failed}")
    return int(failed > 0 or broken)


if __name__ == "__main__":
    sys.exit(main())
