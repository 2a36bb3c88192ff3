"""The servers of a target: their addresses, which of them are in use, what their answers say of workers and health.

A target is the address of one server, or names several with the same ledger: a list of addresses, or a DNS name with
several records, which `DnsWatch` follows, because servers come and go. `Server` is one of these servers as a pool sees
it. Its answers name the worker in their metadata (`WorkerIdentity`). See docs/decisions/0047.
"""

from __future__ import annotations

import enum
import math
import socket
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from dejavu_client.errors import metadata_value
from dejavu_client.logs import get_logger
from dejavu_common.address import Address
from dejavu_common.clock import Backoff

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
    """One server of a pool.

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


WORKER_KEY = "dejavu-worker"
"""Metadata key for the name of the worker that answered. The replacement of a worker has another name."""

WORKERS_KEY = "dejavu-workers"
"""Metadata key for the number of workers of the server."""

UNHEARD = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE})
"""Codes of calls that may have ended without a response from the server. Any other code came from the server."""


class WorkerIdentity(NamedTuple):
    """Worker that answered a call.

    Attributes:
        worker: name of the worker; empty if the server gave none.
        workers: number of workers of the server; 0 if the server gave none.
    """

    worker: str = ""
    workers: int = 0


def worker_identity(*metadata: Iterable[tuple[str, str | bytes]] | None) -> WorkerIdentity:
    """Read the worker from a call's metadata (initial, then trailing)."""
    for part in metadata:
        worker = metadata_value(part, WORKER_KEY)
        if worker:
            workers = metadata_value(part, WORKERS_KEY)
            return WorkerIdentity(worker, int(workers) if workers.isascii() and workers.isdigit() else 0)
    return WorkerIdentity()


def failure_identity(error: grpc.RpcError) -> WorkerIdentity:
    """Read the worker from the metadata of a failed call."""
    call = cast("grpc.Call", error)  # asynchronous errors have these methods too
    return worker_identity(call.initial_metadata(), call.trailing_metadata())


LEDGER = "dejavu.ledger"
"""Name of the health check of the server's ledger. What-ifs work without the ledger."""


class HealthStatus(enum.Enum):
    """Status of a server or one of its services, from the standard gRPC health protocol."""

    UNKNOWN = HealthCheckResponse.UNKNOWN
    SERVING = HealthCheckResponse.SERVING
    NOT_SERVING = HealthCheckResponse.NOT_SERVING

    @classmethod
    def _missing_(cls, value: object) -> HealthStatus:
        """Return UNKNOWN for a status that this client does not know."""
        return cls.UNKNOWN


LOOKUP_SECONDS: Final = 10.0
"""Pause between two lookups, in seconds. Lookups find new servers; a server that vanished is out at once
(`Server`)."""

log = get_logger()


def look_up(name: Address) -> list[str]:
    """Return the records of a name: IPv4 and IPv6 addresses. Waits for the system's resolver.

    Raises:
        OSError: if there is no answer, or no record.
    """
    found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class DnsWatch:
    """Looks a name up repeatedly, in a thread, until it is stopped or garbage-collected.

    Args:
        name: the DNS name, and the port of the servers.
    """

    def __init__(self, name: Address) -> None:
        self._stopped = threading.Event()
        self._changed: Sequence[ServerAddress] = ()
        watch = weakref.ref(self)
        # A daemon: it does not keep the process from ending.
        threading.Thread(target=_watch, args=(watch, name, self._stopped), name="dejavu-dns", daemon=True).start()

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stopped.set()

    def found(self, addresses: Sequence[ServerAddress]) -> None:
        """Note the servers of a lookup that found others than the one before."""
        self._changed = addresses

    def changed(self) -> Sequence[ServerAddress]:
        """Return the servers if they have changed since the last call; else none."""
        changed, self._changed = self._changed, ()
        return changed


def _watch(watch: weakref.ref[DnsWatch], name: Address, stopped: threading.Event) -> None:
    known = set[ServerAddress]()
    while not stopped.is_set():
        try:
            records = look_up(name)
        except (OSError, UnicodeError) as error:  # the servers known so far stay
            log.warning("dns_lookup_failed", name=str(name), error=str(error))
            records = []
        addresses = [record_address(name, host) for host in records][:MAX_SERVERS]
        owner = watch()
        if owner is None:
            return
        if addresses and set(addresses) != known:
            known = set(addresses)
            owner.found(addresses)
        del owner
        stopped.wait(LOOKUP_SECONDS)
