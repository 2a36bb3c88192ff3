"""Follows the records of a DNS name, in a thread, because a client's servers come and go."""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from dejavu_client.logs import get_logger
from dejavu_client.transport.servers import MAX_SERVERS, ServerAddress, record_address
from dejavu_common.address import Address

LOOKUP_SECONDS: Final = 10.0
"""Pause between two lookups, in seconds. Lookups find new servers; a server that vanished is out at once
(`servers.Server`)."""

log = get_logger()


def look_up(name: Address) -> list[str]:
    """Return the records of a name: IPv4 and IPv6 addresses. Waits for the system's resolver.

    Raises:
        OSError: if there is no answer, or no record.
    """
    found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class DnsWatch:
    """Looks a name up repeatedly until it is stopped, or the callback is garbage-collected.

    Args:
        name: the DNS name, and the port of the servers.
        changed: method that gets the servers, in the thread; called only if they differ from the last ones.
        seconds: pause between two lookups.
        resolve: returns the records of a name; by default the system's resolver does.
    """

    def __init__(
        self,
        name: Address,
        changed: Callable[[Sequence[ServerAddress]], None],
        *,
        seconds: float = LOOKUP_SECONDS,
        resolve: Callable[[Address], Sequence[str]] | None = None,
    ) -> None:
        self._name = name
        self._changed = weakref.WeakMethod(changed)
        self._seconds = seconds
        self._resolve = resolve or look_up
        self._stopped = threading.Event()
        self._known: set[ServerAddress] = set()

    def start(self) -> None:
        """Start the thread; it does not keep the process from ending."""
        threading.Thread(target=self._run, name="dejavu-dns", daemon=True).start()

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                records = self._resolve(self._name)
            except (OSError, UnicodeError) as error:  # the servers known so far stay
                log.warning("dns_lookup_failed", name=str(self._name), error=str(error))
                records = ()
            addresses = [record_address(self._name, host) for host in records][:MAX_SERVERS]
            changed = self._changed()
            if changed is None:
                return
            if addresses and set(addresses) != self._known and not self._stopped.is_set():
                self._known = set(addresses)
                changed(addresses)
            del changed
            self._stopped.wait(self._seconds)
