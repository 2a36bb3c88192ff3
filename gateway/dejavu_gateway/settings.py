"""Settings of a gateway: its permissions and limits, and the place of the built page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Self

from dejavu_common.address import Address, parsed_address
from dejavu_gateway.limits import GatewayLimits

DEFAULT_LISTEN = Address("127.0.0.1", 8080)

WEB_DIST = Path(__file__).parent / "page"
"""The built page, which the wheel contains."""


_MAPPED_BITS: Final = 96
"""Bits before an IPv4 address in an IPv6 one."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Reverse proxies whose X-Forwarded-For is trusted.

    Attributes:
        networks: their networks or single addresses.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read addresses and networks, such as 10.0.0.7 and 10.0.0.0/16.

        Raises:
            ValueError: if a text is neither.
        """
        return cls(tuple(_unmapped(ip_network(text, strict=False)) for text in texts))

    def __contains__(self, address: str) -> bool:
        """Return whether an address belongs to one of the proxies."""
        return bool(self.networks) and _is_in(self.networks, address)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return an IPv4 network that is written as an IPv6 one in its own form."""
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - _MAPPED_BITS))
    return network


@lru_cache(1024)
def _is_in(networks: tuple[IPv4Network | IPv6Network, ...], address: str) -> bool:
    of_peer = parsed_address(address)
    return of_peer is not None and any(of_peer in network for network in networks)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of a gateway.

    Attributes:
        listen: address on which it listens.
        web: folder of the built page.
        hosts: its host names in addition to those of loopback; if empty, and it listens beyond loopback: any name.
        trusted_proxies: reverse proxies whose X-Forwarded-For is trusted.
        origins: origins of other sites, as browsers send them, whose pages may read the interface; `*`: of all.
        allow_record: whether browsers may have forecasts recorded.
        demo: whether this is a demonstration, in which games of replays count as games.
        evening: the day that is shown as tonight; None: today.
        grace_seconds: time that a drain waits for requests in progress.
        poll_seconds: interval at which the health of the server is read.
        limits: limits of browsers.
    """

    listen: Address = DEFAULT_LISTEN
    web: Path = WEB_DIST
    hosts: tuple[str, ...] = ()
    trusted_proxies: TrustedProxies = TrustedProxies()
    origins: frozenset[str] = frozenset()
    allow_record: bool = False
    demo: bool = False
    evening: date | None = None
    grace_seconds: float = 5.0
    poll_seconds: float = 2.0
    limits: GatewayLimits = field(default_factory=GatewayLimits)
