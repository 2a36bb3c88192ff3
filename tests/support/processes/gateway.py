"""A `dejavu-dashboard` process.

with running_gateway(server) as gateway: …     # gateway.address, gateway.process, gateway.wait_for
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes.servers import SpawnedServer, spawned


@contextmanager
def spawned_gateway(*args: str) -> Iterator[SpawnedServer]:
    """Run a gateway on a free port of 127.0.0.1, unless the arguments name another address; preloaded by day."""
    listen = () if "--listen" in args else ("--listen", "127.0.0.1:0")
    with spawned("dejavu_gateway", [*listen, "--log-format", "json", *args], {**os.environ}) as gateway:
        yield gateway


@contextmanager
def running_gateway(server: str, *args: str) -> Iterator[SpawnedServer]:
    """Run a gateway of a server; yield it once it streams the server's events."""
    with spawned_gateway("--target", server, *args) as gateway:
        gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
        yield gateway
