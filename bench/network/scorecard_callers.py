"""Measures scorecards under many callers: small and large ones, repeated calls, and callers that give up.

Run with `python -m bench.network.scorecard_callers` from the project's folder. Writes a ledger of many settled
forecasts, starts a real server on it and asks for scorecards over gRPC:

- control: a single caller asks once for each large scorecard, of which the first of each horizon reads all scores into
  memory; then it asks for five random consecutive days, and repeats each call;
- load: many callers in a closed loop, each with its own connection. In half of its turns a caller asks for five days
  and then repeats the call; in most others it asks for one of eight large scorecards that all callers share; in the
  rest for a large one that nobody else asks for, and gives up after GIVE_UP_SECONDS.

The server is started anew for the load, so that no answer is kept from the control. Exits with 1 if under load fewer
than SHARE_OK of the five-day calls are answered within FIVE_DAY_SECONDS, or fewer than SHARE_OK of all calls that are
not given up within DEADLINE_SECONDS, or if the 95th percentile of the control's repeated calls exceeds REPEAT_MS.

The ledger takes a gigabyte of disk and a minute for 200,000 forecasts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import uvloop
from bench.ledger import Filled, day, fill
from bench.result import program
from tests.support.processes.servers import spawned_server

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub

SHARE_OK = 0.95
FIVE_DAY_SECONDS = 2.0
REPEAT_MS = 20.0
GIVE_UP_SECONDS = 0.3
DEADLINE_SECONDS = 60.0
"""Deadline of a call: the one that the clients set for scorecards."""

LARGE = [
    pb.ScoreFilter(horizon=horizon, min_confidence=confidence)
    for horizon in (HORIZON_HALFTIME, HORIZON_FINAL)
    for confidence in (None, 0.6, 0.7, 0.8)
]


@dataclass
class Result:
    """Measurements of a run; times in milliseconds.

    Attributes:
        forecasts: forecasts in the ledger.
        alone_ms, repeat_alone_ms, large_alone_ms: of one caller.
        first_alone_ms: of the first large scorecard of each horizon, by one caller.
        five_ms, repeat_ms, large_ms: of the calls under load that were answered.
        codes: status codes under load, by kind of call.
        late: five-day calls under load that were answered after FIVE_DAY_SECONDS.
    """

    forecasts: int = 0
    callers: int = 0
    alone_ms: list[float] = field(default_factory=list)
    repeat_alone_ms: list[float] = field(default_factory=list)
    large_alone_ms: list[float] = field(default_factory=list)
    first_alone_ms: list[float] = field(default_factory=list)
    five_ms: list[float] = field(default_factory=list)
    repeat_ms: list[float] = field(default_factory=list)
    large_ms: list[float] = field(default_factory=list)
    codes: dict[str, dict[str, int]] = field(default_factory=dict)
    late: int = 0

    def share_ok(self, *kinds: str) -> float:
        """Return the share of calls under load that were answered."""
        counts = sum((Counter(self.codes.get(kind, {})) for kind in kinds), Counter[str]())
        return counts["OK"] / max(counts.total(), 1)

    def breaches(self) -> list[str]:
        """Return the failed checks; empty if all pass."""
        broken = []
        five = sum(self.codes.get("five", {}).values())
        within = (len(self.five_ms) - self.late) / max(five, 1)
        if within < SHARE_OK:
            broken.append(f"{within:.1%} of the five-day scorecards were answered within {FIVE_DAY_SECONDS:g} s")
        if (answered := self.share_ok("five", "repeat", "large")) < SHARE_OK:
            broken.append(f"{answered:.1%} of the calls that were not given up on were answered")
        if (repeat := percentile(self.repeat_alone_ms, 0.95)) > REPEAT_MS:
            broken.append(f"a repeat takes {repeat:.1f} ms")
        return broken


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile; 0 without values."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0.0


class Caller:
    """A caller with its own connection, which the kernel gives to a worker."""

    def __init__(self, address: str, filled: Filled, rng: random.Random, result: Result) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._service: Any = RecordServiceStub(self._channel)
        self._filled = filled
        self._rng = rng
        self._result = result

    def five_days(self) -> pb.ScoreFilter:
        """Return the filter of five consecutive days, chosen at random, at a random horizon."""
        first = day(self._rng.randrange(max(self._filled.evenings - 5, 1)))
        horizon = self._rng.choice((HORIZON_HALFTIME, HORIZON_FINAL))
        days = [date.fromordinal(each).isoformat() for each in (first, first + 4)]
        return pb.ScoreFilter(horizon=horizon, from_date=days[0], to_date=days[1])

    def large_of_its_own(self) -> pb.ScoreFilter:
        """Return the filter of a large scorecard that no other caller asks for."""
        return pb.ScoreFilter(horizon=HORIZON_FINAL, min_confidence=self._rng.uniform(0.5, 0.6))

    async def ask(self, kind: str, filter_: pb.ScoreFilter, times: list[float], seconds: float) -> float:
        """Ask for a scorecard; count its status code and keep the time of an answer. Return the milliseconds."""
        start = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            await self._service.GetScorecard(pb.GetScorecardRequest(filter=filter_), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            code = error.code()
        taken = 1e3 * (time.perf_counter() - start)
        if code is grpc.StatusCode.OK:
            times.append(taken)
        counts = self._result.codes.setdefault(kind, {})
        counts[code.name] = counts.get(code.name, 0) + 1
        return taken

    async def keep_asking(self, seconds: float) -> None:
        """Ask in a closed loop; wait about a second after a refused large scorecard, as clients do."""
        start, result = time.monotonic(), self._result
        while time.monotonic() - start < seconds:
            match self._rng.choices(("five", "large", "given up"), (5, 4, 1))[0]:
                case "five":
                    filter_ = self.five_days()
                    taken = await self.ask("five", filter_, result.five_ms, DEADLINE_SECONDS)
                    result.late += taken > 1e3 * FIVE_DAY_SECONDS
                    await self.ask("repeat", filter_, result.repeat_ms, DEADLINE_SECONDS)
                case "large":
                    refused = result.codes.get("large", {}).get("RESOURCE_EXHAUSTED", 0)
                    await self.ask("large", self._rng.choice(LARGE), result.large_ms, DEADLINE_SECONDS)
                    if result.codes["large"].get("RESOURCE_EXHAUSTED", 0) > refused:
                        await asyncio.sleep(self._rng.uniform(0.5, 1.5))
                case _:
                    await self.ask("given up", self.large_of_its_own(), [], GIVE_UP_SECONDS)

    async def close(self) -> None:
        """Close its connection."""
        await self._channel.close()


async def alone(address: str, filled: Filled, options: argparse.Namespace, result: Result) -> None:
    """Run the control."""
    caller = Caller(address, filled, random.Random(options.seed), result)
    for filter_ in LARGE:
        times = result.large_alone_ms if filter_.HasField("min_confidence") else result.first_alone_ms
        await caller.ask("alone", filter_, times, DEADLINE_SECONDS)
    for _ in range(options.alone):
        filter_ = caller.five_days()
        await caller.ask("alone", filter_, result.alone_ms, DEADLINE_SECONDS)
        await caller.ask("alone", filter_, result.repeat_alone_ms, DEADLINE_SECONDS)
    await caller.close()


async def load(address: str, filled: Filled, options: argparse.Namespace, result: Result) -> None:
    """Run the callers."""
    callers = [
        Caller(address, filled, random.Random(options.seed + 1 + number), result) for number in range(options.callers)
    ]
    await asyncio.gather(*(caller.keep_asking(options.seconds) for caller in callers))
    for caller in callers:
        await caller.close()


def report(result: Result, _: float) -> str:
    """Format the result for people."""
    rows = {
        "alone: five days": result.alone_ms,
        "alone: repeated": result.repeat_alone_ms,
        "alone: large, first": result.first_alone_ms,
        "alone: large, again": result.large_alone_ms,
        f"{result.callers} callers: five days": result.five_ms,
        f"{result.callers} callers: repeated": result.repeat_ms,
        f"{result.callers} callers: large": result.large_ms,
    }
    lines = [f"{f'ms, {result.forecasts:,} forecasts':32} {'calls':>7} {'p50':>9} {'p95':>9} {'p99':>9} {'max':>9}"]
    for name, times in rows.items():
        figures = " ".join(f"{percentile(times, share):>9.1f}" for share in (0.5, 0.95, 0.99, 1.0))
        lines.append(f"{name:32} {len(times):>7,} {figures}")
    for kind, codes in sorted(result.codes.items()):
        if kind != "alone":
            lines.append(f"{kind:9} " + ", ".join(f"{count:,} {code}" for code, count in sorted(codes.items())))
    return "\n".join(lines)


def run(options: argparse.Namespace, folder: Path) -> Result:
    """Write the ledger, then run control and load."""
    filled = fill(folder / "ledger.sqlite3", options.forecasts)
    result = Result(forecasts=filled.forecasts, callers=options.callers)
    for part in (alone, load):
        with spawned_server("--workers", str(options.workers), "--ledger", filled.url) as server:
            server.wait_for("listening")
            uvloop.run(part(server.address, filled, options, result))
    return result


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program."""
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they ask")
    parser.add_argument("--alone", type=int, default=100, help="calls of the control")
    parser.add_argument("--forecasts", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    return program(
        arguments,
        show,
        description="asks for scorecards with many callers",
        run=run,
        report=report,
        add_options=add_options,
    )


if __name__ == "__main__":
    sys.exit(main())
