"""A `dejavu-dashboard` process.

with running_gateway(server) as gateway: …     # gateway.address, gateway.process, gateway.wait_for
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import preloaded
from tests.support.processes.preloaded import Child, start_preloaded
from tests.support.processes.servers import SpawnedServer


@contextmanager
def spawned_gateway(*args: str) -> Iterator[SpawnedServer]:
    """Run a gateway on a free port of 127.0.0.1, unless the arguments name another address; preloaded by day."""
    listen = () if "--listen" in args else ("--listen", "127.0.0.1:0")
    arguments = [*listen, "--log-format", "json", *args]
    if preloaded.enabled():
        process: Child = start_preloaded("dejavu_gateway", arguments, {**os.environ})
    else:
        process = subprocess.Popen(
            [sys.executable, "-m", "dejavu_gateway", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
        )
    gateway = SpawnedServer(process)
    try:
        yield gateway
    finally:
        gateway.close()


@contextmanager
def running_gateway(server: str, *args: str) -> Iterator[SpawnedServer]:
    """Run a gateway of a server; yield it once it streams the server's events."""
    with spawned_gateway("--target", server, *args) as gateway:
        gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
        yield gateway
