"""The servers of a target, and the state of each: in use, or out.

A target is the address of one server, or names several with the same ledger: a list of addresses, or a DNS name with
several records. `Server` is one of these servers as a pool sees it. See docs/decisions/0047.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dejavu_common.address import Address
from dejavu_common.backoff import Backoff

FIRST_CHECK_PAUSE: Final = 0.25
LONGEST_CHECK_PAUSE: Final = 2.0
"""Pauses, in seconds, after which a server that is out is probed; each is twice as long as the one before."""

STEADY_SECONDS: Final = 10.0
"""Time for which a server must have taken calls before the first of the pauses above applies again."""

MAX_SERVERS: Final = 64
"""Maximum number of servers of a target: a client opens a connection to each of them."""

_LISTS: Final = ("ipv4:", "ipv6:")
_DNS: Final = "dns:"


class ServerAddress(NamedTuple):
    """Address of one server.

    Attributes:
        target: address to connect to, in gRPC's notation.
        authority: the name that its certificate must have, and that requests carry; empty for the name in `target`.
    """

    target: str
    authority: str = ""


class Servers(NamedTuple):
    """The servers that a target names.

    Attributes:
        addresses: the address of each server; for a DNS name, the name's own address until its records are known.
        name: DNS name and port whose records are the servers; None if the target has none.
    """

    addresses: tuple[ServerAddress, ...]
    name: Address | None = None

    @property
    def several(self) -> bool:
        """Whether there is more than one server, or may be."""
        return self.name is not None or len(self.addresses) > 1


def parse_servers(target: str) -> Servers:
    """Return the servers of a target: HOST:PORT, HOST:PORT,HOST:PORT,…, dns:///NAME:PORT, or another target of gRPC.

    Raises:
        ValueError: if a server or a name has no port, or a list has an entry that is no address, a repeated entry or
            too many entries.
    """
    if target.startswith(_DNS):
        authority, _, endpoint = target.removeprefix(_DNS).rpartition("/")
        if authority.strip("/"):  # the target names a DNS server, which only gRPC's resolver can ask
            return Servers((ServerAddress(target),))
        return Servers((ServerAddress(target),), _address(endpoint, target))
    scheme = next((each for each in _LISTS if target.startswith(each)), "")
    if ":" not in target:
        _address(target, target)  # refuses it: gRPC would try port 443
    if "," not in target or (not scheme and "/" in target):
        return Servers((ServerAddress(target),))
    endpoints = [each.strip() for each in target.removeprefix(scheme).split(",")]
    for each in endpoints:
        _address(each, target)
    if len(set(endpoints)) < len(endpoints):
        twice = next(each for each in endpoints if endpoints.count(each) > 1)
        raise ValueError(f"target={target!r} names {twice} twice; expected each server once")
    if len(endpoints) > MAX_SERVERS:
        raise ValueError(f"target names {len(endpoints)} servers; expected at most {MAX_SERVERS}")
    return Servers(tuple(ServerAddress(f"{scheme}{each}") for each in endpoints))


def record_address(name: Address, host: str) -> ServerAddress:
    """Return the server address for a record of a DNS name.

    Args:
        name: the name, and the port.
        host: the record: an IPv4 or IPv6 address.
    """
    scheme = "ipv6" if ":" in host else "ipv4"
    return ServerAddress(f"{scheme}:{Address(host, name.port)}", str(name))


def _address(endpoint: str, target: str) -> Address:
    try:
        return Address.parse(endpoint)
    except ValueError as error:
        expected = "expected HOST:PORT, HOST:PORT,HOST:PORT or dns:///NAME:PORT"
        raise ValueError(f"target={target!r}: {error}; {expected}") from None


@dataclass(slots=True, eq=False)
class Server:
    """One server of a pool. Not thread-safe: the pool holds its lock.

    A server goes out when a connection to it is refused, lost or silent. gRPC reports a health other than SERVING like
    a refused connection, so it has the same effect. The server is in use again once data arrives over a channel that
    was taken or probed after it went out.

    Attributes:
        address: its address.
        workers: number of its workers; 0 if it has not reported it yet.
        out: whether calls avoid it.
        out_since: when it went out, by the pool's clock.
        out_turn: the pool's turn counter at that time.
        check_at: time of its next probe while it is out.
    """

    address: ServerAddress
    workers: int = 0
    out: bool = False
    out_since: float = -math.inf
    out_turn: int = 0
    check_at: float = math.inf
    _in_since: float = -math.inf
    _pauses: Backoff = field(default_factory=lambda: Backoff(FIRST_CHECK_PAUSE, LONGEST_CHECK_PAUSE))

    def take_out(self, now: float, turn: int, *, check: bool = False) -> None:
        """Take the server out, unless it is out already.

        Args:
            now: the time.
            turn: the pool's turn counter.
            check: whether to probe it at once: another connection to it may work.
        """
        if self.out:
            return
        if now - self._in_since >= STEADY_SECONDS:
            self._pauses.reset()
        self.out, self.out_since, self.out_turn = True, now, turn
        self.check_at = now if check else now + self._pauses.next()

    def put_back(self, now: float) -> None:
        """Put the server back into use."""
        self.out, self._in_since, self.check_at = False, now, math.inf

    def is_check_due(self, now: float) -> bool:
        """Return whether to probe it now; it is then due again after a longer pause."""
        if not self.out or now < self.check_at:
            return False
        self.check_at = now + self._pauses.next()
        return True
