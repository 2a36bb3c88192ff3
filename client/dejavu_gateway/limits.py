"""Limits of a gateway: how much browsers may use of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

_OF_ONE_CUSTOMER: Final = 64
"""Bits of an IPv6 address that providers give to a customer, who has all addresses below."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What browsers may use of a gateway. Times are in seconds, sizes in bytes.

    Attributes:
        connections: most connections; live streams may hold nine tenths of them.
        connections_per_address: most connections of one address, unless it is that of a trusted proxy.
        streams_per_address: most live streams of one address, or of one client of a trusted proxy.
        header_bytes: largest request line with its headers.
        request_seconds: within which a request must have arrived.
        keep_alive_seconds: how long an idle connection is kept.
        answer_seconds: within which a request is answered, live streams apart.
        stalled_seconds: after which a browser that reads nothing is cut off; it resumes.
        unread_bytes: most bytes of answers that wait in the gateway to be read, by all browsers.
        unread_bytes_per_address: most of them for one address, unless it is that of a trusted proxy.
        heartbeat_seconds: silence after which a live stream sends its position.
        replay_events: most events kept for browsers that resume.
        replay_bytes: most bytes of them.
        reads: most reads of the server at once, so that it still answers others; more wait for their turn.
        reads_per_address: most of them for one address; a browser has six connections.
        reads_line: most reads of one address that run or wait; behind a proxy they hold connections of all browsers.
        what_ifs: most calls that have the server compute at once; all are of one caller for it, which limits those.
        what_ifs_per_address: most of them for one address.
        what_ifs_line: most that wait; an eighth as many of one address run, wait, or have their bodies read. A parsed
            body takes up to 0.7 MB.
        unparsed_bytes: most bytes of bodies that are received, and not parsed yet.
        catching_up: most streams to the server for browsers that resume from before those events.
        catching_up_per_address: most of them for one address.
        catch_up_stalled_seconds: after which a browser that reads nothing meanwhile is cut off.
        catch_up_seconds: how long one of them lasts at most; the browser then resumes where it was, after others.
    """

    connections: int = 2000
    connections_per_address: int = 64
    streams_per_address: int = 32
    header_bytes: int = 16 * 1024
    request_seconds: float = 15.0
    keep_alive_seconds: int = 30
    answer_seconds: float = 75.0
    stalled_seconds: float = 15.0
    unread_bytes: int = 64 * 1024 * 1024
    unread_bytes_per_address: int = 8 * 1024 * 1024
    heartbeat_seconds: float = 10.0
    replay_events: int = 5000
    replay_bytes: int = 64 * 1024 * 1024
    reads: int = 32
    reads_per_address: int = 6
    reads_line: int = 40
    what_ifs: int = 16
    what_ifs_per_address: int = 4
    what_ifs_line: int = 96
    unparsed_bytes: int = 64 * 1024 * 1024
    catching_up: int = 16
    catching_up_per_address: int = 4
    catch_up_stalled_seconds: float = 3.0
    catch_up_seconds: float = 30.0

    @property
    def streams(self) -> int:
        """Most live streams: they leave room for connections that ask, a page among them, which end soon."""
        return self.connections - max(1, self.connections // 10)


@lru_cache(4096)
def share_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the network of an IPv6 address that one customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a socket of this machine has none
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), _OF_ONE_CUSTOMER), strict=False))
