"""Limits of a gateway's use by browsers, and the slots for expensive work that browsers share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from dejavu_common.slots import FairSlots, Holdings, NoSlotError


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Limits of requests of one kind.

    Attributes:
        number: maximum number that run at a time; further ones wait, and addresses take turns.
        per_address: maximum number that run at a time for one address.
        in_line: maximum number of one address that run, wait, or have their bodies read.
        waiting: maximum number that wait. Beyond it, the newest one of the address with the most gives way to a request
            of another address.
    """

    number: int
    per_address: int
    in_line: int
    waiting: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Limits of the use of a gateway by browsers. Times are in seconds, sizes in bytes.

    Attributes:
        connections: maximum number of connections; live streams may hold nine tenths of them.
        streams_per_address: maximum number of live streams of one address, or of one client of a trusted proxy.
        answer_seconds: time within which a request is answered, except live streams.
        stalled_seconds: time after which a browser that reads nothing is cut off; it can resume.
        heartbeat_seconds: silence after which a live stream sends its position.
        replay_events: maximum number of events kept for browsers that resume.
        replay_bytes: maximum bytes of these events.
        unparsed_bytes: maximum bytes of bodies that are received, but not parsed yet.
        reads: of reads from the server, so that it still answers its other callers. A browser has six connections;
            behind a proxy, reads that wait occupy connections that all browsers share.
        what_ifs: of calls for which the server computes; to the server, they all come from one caller, which it limits.
            A parsed body takes up to 0.7 MB.
        products: of pictures and files of forecasts, which the gateway makes itself; a file takes some 20 MB.
    """

    connections: int = 2000
    streams_per_address: int = 32
    answer_seconds: float = 75.0
    stalled_seconds: float = 15.0
    heartbeat_seconds: float = 10.0
    replay_events: int = 5000
    replay_bytes: int = 64 * 1024 * 1024
    unparsed_bytes: int = 64 * 1024 * 1024
    reads: SlotLimits = SlotLimits(32, per_address=6, in_line=40)
    what_ifs: SlotLimits = SlotLimits(16, per_address=4, in_line=12, waiting=96)
    products: SlotLimits = SlotLimits(2, per_address=1, in_line=8, waiting=64)

    @property
    def streams(self) -> int:
        """Maximum number of live streams: they leave room for connections with short requests, such as for a page."""
        return self.connections - max(1, self.connections // 10)


class AddressSlots(FairSlots):
    """Slots that are shared by all addresses, with limits for each."""

    def __init__(self, limits: SlotLimits) -> None:
        super().__init__(limits.number, per_caller=limits.per_address, max_waiting=limits.waiting)
        self._line = Holdings()
        self._most_of_address = limits.in_line

    @contextlib.contextmanager
    def in_line(self, address: str) -> Iterator[None]:
        """Count a request; enter before its body is read, and leave when it is answered.

        Raises:
            NoSlotError: if too many requests of the address are in line.
        """
        if self._line[address] >= self._most_of_address:
            raise NoSlotError(f"your address has {self._most_of_address} requests in line already")
        with self._line.held(address):
            yield
