"""Fan-out of an event to 1, 100 and 1,000 subscribers, compared with a bare echo stream."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count

from bench.latency import Server, helper, tell
from bench.performance.measuring import DEJAVU, ECHO, MINUTE, SEED, CallsFailed, Contest, alternate, plural
from bench.performance.processes.echo import Answers
from bench.performance.processes.subscribers import Delivered, FanOut
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.servers import dejavu, echo_of_many, what_if_response
from bench.performance.setting import Setting

NAME = "streams"


def case_of(subscribers: int) -> str:
    """Return the case of a number of subscribers."""
    return plural(subscribers, "subscriber")


class Subscribers:
    """The process of subscribers; see `bench.performance.processes.subscribers`.

    Args:
        process: the process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def deliver(self, order: FanOut) -> Delivered:
        """Let events be delivered; return the results.

        Raises:
            CallsFailed: if a subscriber missed an event, or got one twice.
        """
        try:
            line = tell(self._process, json.dumps(asdict(order)))
        except RuntimeError as error:
            raise CallsFailed(str(error)) from error
        delivered = Delivered(**json.loads(line))
        if delivered.wrong:
            raise CallsFailed(f"subscribers received {delivered.wrong} events too often")
        return delivered


def fan_out(
    subscribers: Subscribers, server: Server, number: int, events: int, first: int
) -> Callable[[], dict[str, float]]:
    """Return a function that measures the delivery of events to a number of subscribers, which connect before."""
    firsts = count(first, events)

    def take() -> dict[str, float]:
        order = FanOut(server.address, server.process.pid, number, events, next(firsts), MINUTE, SEED)
        delivered = subscribers.deliver(order)
        return {
            "last_ms": 1e3 * statistics.median(delivered.seconds),
            "cpu_us": 1e6 * delivered.cpu_seconds / events / number,
            "event_bytes": len(bytes.fromhex(delivered.event)),
        }

    return take


def measure(setting: Setting, run: Run) -> None:
    """Measure fan-out."""
    with ExitStack() as stack:
        process = stack.enter_context(helper("bench.performance.processes.subscribers", set(setting.callers)))
        subscribers = Subscribers(process)
        server = stack.enter_context(dejavu(setting))
        # The echo sends an event of the server.
        sent = subscribers.deliver(FanOut(server.address, server.process.pid, 1, 1, 0, MINUTE, SEED))
        plain = stack.enter_context(echo_of_many(setting, Answers(what_if_response(server).hex(), sent.event)))
        contests = []
        for index, number in enumerate(setting.sizes((1, 100, 1000), (1, 30)), 1):
            events = setting.size(20 if number < 1000 else 6, 2)
            for contender, each in ((ECHO, plain), (DEJAVU, server)):
                take = fan_out(subscribers, each, number, events, index * 1_000_000)
                contests.append(Contest(case_of(number), contender, take))
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Streams",
    text=(
        "A call publishes a forecast of a named game, and every subscriber of one worker receives it; 25 subscribers"
        " share a connection. The time is measured from the call until the last subscriber has the event: it includes"
        " forecast and commit. The echo sends the same bytes to as many subscribers, in a call that computes"
        " nothing. Publisher and subscribers are one process; its CPU time is included in the times of both servers."
    ),
    columns={
        "last_ms": "until the last has it, ms",
        "cpu_us": "server CPU, µs a delivery",
        "event_bytes": "bytes of an event",
    },
    measure=measure,
    base=ECHO,
    plot="streams",
)
