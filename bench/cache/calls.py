"""Calls of one kind to one server, and their cost for its process."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Final

from bench.latency import ECHO, Callers, Sample, Server, sample
from bench.load import Order

HIT, MISS, OFF = "hit", "miss", "cache off"
REDIS_HIT: Final = "hit in Redis"

DISTINCT: Final = 64
"""Number of different requests of the kinds that repeat their requests."""


@dataclass
class Calls:
    """Calls of one kind.

    Attributes:
        kind: the kind.
        server: the server that is called.
        repeated: whether the same requests are sent in every round.
        other: server that gets the same requests first; None if there is none.
    """

    kind: str
    server: Server
    repeated: bool
    other: Server | None = None

    def measure(self, callers: Callers, count: int, first: int, calls: int) -> Sample:
        """Make the calls with `count` callers; requests that are not repeated begin with number `first`."""
        order = Order(
            address=self.server.address,
            callers=count,
            calls=calls,
            first=0 if self.repeated else first,
            named=False,
            extras=False,
            minutes=[18],
            seed=0,
            distinct=DISTINCT if self.repeated else 0,
        )
        if self.other is not None:
            callers.ask(replace(order, address=self.other.address))
        return sample(callers, self.server, self.kind, order)


def line(rounds: list[list[Sample]], count: int, kind: str) -> str:
    """Format the medians of a kind, and the ratio of its CPU to the echo's of the same round."""
    chosen = [{each.kind: each for each in samples if each.callers == count} for samples in rounds]
    cpu = statistics.median(each[kind].cpu_us for each in chosen)
    p50 = statistics.median(each[kind].p50_ms for each in chosen)
    over = [each[kind].cpu_us / each[ECHO].cpu_us for each in chosen if each[ECHO].cpu_us]
    ratio = f"× {statistics.median(over):.2f} [{min(over):.2f}, {max(over):.2f}]" if over else "not measured"
    return f"{count:>7} {kind:14} {cpu:>8.0f} {ratio:>22} {p50:>8.2f}"


def worst_ratio(rounds: list[list[Sample]], counts: list[int], kind: str) -> float:
    """Return the ratio of a kind's CPU to the echo's: the largest of the medians for each number of callers."""
    medians = []
    for count in counts:
        chosen = [{each.kind: each.cpu_us for each in samples if each.callers == count} for samples in rounds]
        over = [each[kind] / each[ECHO] for each in chosen if each[ECHO]]
        medians.append(statistics.median(over) if over else float("inf"))
    return max(medians)
