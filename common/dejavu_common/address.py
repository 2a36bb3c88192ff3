"""Network addresses as users write them, and whose they are."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, NamedTuple

MAX_PORT = 65535

_OF_ONE_CUSTOMER: Final = 64
"""Length in bits of the IPv6 prefix that providers give to one customer, who has all addresses under it."""


class Address(NamedTuple):
    """A host and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse HOST:PORT; an IPv6 host must be in brackets.

        Raises:
            ValueError: if the text has another form, or the port is above 65535.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (colon and host and port.isascii() and port.isdigit()):
            raise ValueError(f"{text!r} is not HOST:PORT (such as 127.0.0.1:50051 or [::1]:50051)")
        if len(port.lstrip("0")) > len(str(MAX_PORT)) or int(port) > MAX_PORT:
            raise ValueError(f"{text!r}: port out of range; expected 0 to {MAX_PORT}")
        try:
            host.encode("idna")  # the encoding used for DNS lookups
        except UnicodeError:
            raise ValueError(f"{host!r} is not a valid host name") from None
        return cls(host, int(port))

    def resolve(self) -> tuple[socket.AddressFamily, Any]:
        """Resolve the address for a listening socket; block until the name resolver answers.

        Returns:
            The address family, and the numeric address for `socket.bind`.

        Raises:
            OSError: if the host cannot be resolved.
        """
        family, *_, numeric = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return family, numeric

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; None if it is none, as of a socket of this machine.

    A socket of both families gives IPv4 addresses as IPv6 ones.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(4096)
def share_of(address: str) -> str:
    """Return the key of a caller: its IPv4 address or this machine's IPv6 one, or the IPv6 network of one customer."""
    parsed = parsed_address(address)
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(IPv6Network((int(parsed), _OF_ONE_CUSTOMER), strict=False))
    return address if parsed is None else str(parsed)
