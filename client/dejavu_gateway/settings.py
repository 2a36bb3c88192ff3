"""Settings of a gateway: what it allows, and where the built page is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dejavu_common.address import Address
from dejavu_gateway.limits import GatewayLimits

DEFAULT_LISTEN = Address("127.0.0.1", 8080)

WEB_DIST = Path(__file__).parent / "web" / "dist"
"""The built page, which the wheel contains."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of a gateway.

    Attributes:
        listen: where it listens.
        web: folder of the built page.
        hosts: host names under which it is reached, beside those of loopback; empty if it listens beyond loopback: any.
        trusted_proxies: addresses of reverse proxies whose X-Forwarded-For is believed.
        allow_record: whether browsers may have forecasts recorded.
        demo: whether games of replays count as games: a demonstration.
        grace_seconds: how long a drain waits for requests in progress.
        poll_seconds: how often the health of the server is read.
        limits: what browsers may use.
    """

    listen: Address = DEFAULT_LISTEN
    web: Path = WEB_DIST
    hosts: tuple[str, ...] = ()
    trusted_proxies: frozenset[str] = frozenset()
    allow_record: bool = False
    demo: bool = False
    grace_seconds: float = 5.0
    poll_seconds: float = 2.0
    limits: GatewayLimits = field(default_factory=GatewayLimits)
