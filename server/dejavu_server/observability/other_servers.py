"""What the servers of a ledger tell each other of what they counted, and the sums over several servers."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from dejavu_server.observability.metrics import LATENCY_BUCKETS
from dejavu_server.observability.totals import MAX_FEEDS, WINDOW_SECONDS, CountedWindow, FeedReport, ServerTotals

MAX_BYTES: Final = 4 * 1024 * 1024
"""Longest report that is read, in bytes of JSON; one of a server with 18 methods in use has 60,000."""


class UnreadableReport(ValueError):
    """The report of another server cannot be read."""


class ServerSample(BaseModel):
    """What a server tells the others, as compressed JSON.

    It may gain fields and names, and lose none: servers of several releases use one ledger.

    Attributes:
        name: where the server runs.
        configured_workers: how many it was started with.
        totals: what all its workers counted.
        seconds_ago: age of the totals when it told them.
        bounds: upper bounds of the histograms' buckets but the infinite one, in seconds, rising.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    name: str
    configured_workers: int
    totals: ServerTotals
    seconds_ago: float
    bounds: tuple[float, ...] = LATENCY_BUCKETS

    def encode(self) -> bytes:
        """Returns what `decode` reads."""
        return zlib.compress(self.model_dump_json().encode(), level=1)

    @classmethod
    def decode(cls, state: bytes) -> ServerSample:
        """Reads what `encode` returned, of this release or another one.

        Raises:
            UnreadableReport: if it can't be read, or is too long.
        """
        try:
            unpacked = zlib.decompressobj()
            text = unpacked.decompress(state, MAX_BYTES)
            if not unpacked.eof:
                raise UnreadableReport(f"it is cut off, or longer than {MAX_BYTES:,} bytes")
            return cls.model_validate_json(text)
        except (zlib.error, ValidationError) as error:
            raise UnreadableReport(f"it is no {cls.__name__}: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A server and how old what is known of it is.

    Attributes:
        sample: what it counted.
        age: how long ago that was summed, in seconds.
    """

    sample: ServerSample
    age: float

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of the buckets of its histograms; the last one is infinite."""
        return (*self.sample.bounds, math.inf)


class OtherServers(NamedTuple):
    """The servers of the ledger but the one that asks.

    Attributes:
        servers: those whose reports count, by name.
        missing: why some may be missing; empty if none is.
    """

    servers: tuple[KnownServer, ...]
    missing: str


def combined_bounds(servers: Sequence[KnownServer]) -> tuple[float, ...]:
    """Returns the upper bounds of buckets that the histograms of all servers have; the last one is infinite.

    Only at these is it known how many calls of all servers took at most so long.
    """
    return tuple(bound for bound in servers[0].bounds if all(bound in server.bounds for server in servers))


def combined_windows(servers: Sequence[KnownServer]) -> Iterator[CountedWindow]:
    """Yields what several servers counted together, by length of the window; lasting as long as the longest of them."""
    for length in (*WINDOW_SECONDS, 0):
        windows = [window for each in servers for window in each.sample.totals.windows if window.length == length]
        counts: defaultdict[str, float] = defaultdict(float)
        for window in windows:
            for name, value in window.counts.items():
                counts[name] += value
        seconds = max((window.seconds for window in windows), default=0.0)
        yield CountedWindow(length=length, seconds=seconds, counts=counts)


def combined_states(servers: Iterable[KnownServer]) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the sums of the levels of several servers, and the largest of their peaks."""
    levels: defaultdict[str, float] = defaultdict(float)
    peaks: dict[str, float] = {}
    for each in servers:
        for name, value in each.sample.totals.levels.items():
            levels[name] += value
        for name, value in each.sample.totals.peaks.items():
            peaks[name] = max(value, peaks.get(name, value))
    return dict(levels), peaks


def newest_feeds(servers: Iterable[KnownServer]) -> dict[str, tuple[FeedReport, float]]:
    """Returns the newest report about each feed and its age in seconds, by name: the MAX_FEEDS that are newest."""
    newest: dict[str, tuple[FeedReport, float]] = {}
    for each in servers:
        for name, report in each.sample.totals.feeds.items():
            age = max(0.0, each.sample.totals.monotonic - report.reported) + each.age
            if name not in newest or age < newest[name][1]:
                newest[name] = report, age
    kept = sorted(newest, key=lambda name: newest[name][1])[:MAX_FEEDS]
    return {name: newest[name] for name in sorted(kept)}
