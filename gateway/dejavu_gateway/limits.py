"""Limits of a gateway's use by browsers, and the slots for expensive work that browsers share."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from dejavu_common.slots import FairSlots, NoSlotError

_OF_ONE_CUSTOMER: Final = 64
"""Length in bits of the IPv6 prefix that providers give to one customer, who has all addresses under it."""


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
        reads: maximum number of concurrent reads from the server, so that it still answers its other callers; further
            reads wait for their turn.
        reads_per_address: maximum of these reads for one address; a browser has six connections.
        reads_line: maximum number of reads of one address that run or wait; behind a proxy, they occupy connections
            that all browsers share.
        what_ifs: maximum number of concurrent calls for which the server computes; to the server, they all come from
            one caller, which it limits.
        what_ifs_per_address: maximum of these calls for one address.
        what_ifs_line: maximum number of these calls that wait. Of one address, at most an eighth as many run, wait, or
            have their bodies read. A parsed body takes up to 0.7 MB.
        drawings_line: maximum number of requests that wait for a picture to be drawn; one is drawn at a time, and
            addresses take turns. Of one address, at most an eighth as many are drawn or wait.
        files: maximum number of files of forecasts that are made at a time, one of an address: each takes some 20 MB.
        files_line: maximum number of requests that wait for a file. Of one address, at most an eighth as many are made
            or wait.
        unparsed_bytes: maximum bytes of bodies that are received, but not parsed yet.
    """

    connections: int = 2000
    streams_per_address: int = 32
    answer_seconds: float = 75.0
    stalled_seconds: float = 15.0
    heartbeat_seconds: float = 10.0
    replay_events: int = 5000
    replay_bytes: int = 64 * 1024 * 1024
    reads: int = 32
    reads_per_address: int = 6
    reads_line: int = 40
    what_ifs: int = 16
    what_ifs_per_address: int = 4
    what_ifs_line: int = 96
    drawings_line: int = 64
    files: int = 2
    files_line: int = 32
    unparsed_bytes: int = 64 * 1024 * 1024

    @property
    def streams(self) -> int:
        """Maximum number of live streams: they leave room for connections with short requests, such as for a page."""
        return self.connections - max(1, self.connections // 10)


@lru_cache(4096)
def share_of(address: str) -> str:
    """Return the key of a client: an IPv4 address, or the IPv6 network that belongs to one customer."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a socket of this machine has no address
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), _OF_ONE_CUSTOMER), strict=False))


class AddressSlots(FairSlots):
    """Slots that are shared by all addresses, with a limit for each; addresses wait in turn.

    Args:
        number: number of slots.
        per_address: slots that one address gets at most.
        line_of_address: maximum of requests of one address in line (see `in_line`), including those with a slot.
        max_waiting: maximum number of requests that wait for a slot; beyond it, the newest waiting request of the
            address with the most gives way to a request of another address.
    """

    def __init__(
        self, number: int, per_address: int, *, line_of_address: int = sys.maxsize, max_waiting: int = sys.maxsize
    ) -> None:
        super().__init__(number, per_caller=per_address, max_waiting=max_waiting)
        self._line = Counter[str]()
        self._most_of_address = line_of_address

    @contextlib.contextmanager
    def in_line(self, address: str) -> Iterator[None]:
        """Count a request; enter before its body is read, and leave when it is answered.

        Raises:
            NoSlotError: if too many requests of the address are in line.
        """
        if self._line[address] >= self._most_of_address:
            raise NoSlotError(f"your address has {self._most_of_address} requests in line already")
        self._line[address] += 1
        try:
            yield
        finally:
            self._line[address] -= 1
            if not self._line[address]:
                del self._line[address]
