"""A Ray cluster of two nodes on this machine."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.support.harness.documents import ROOT
from tests.support.processes.connections import answers

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # see docs/training.md
}
"""Environment of the workers: they import the same code as their caller, here the tests too."""


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Start a Ray head and a second node, of one CPU each; yield the address of its client server.

    This process is connected to it, and no longer at the end. Only one process of a machine has one at a time:
    two heads on one machine disturb each other.

    Raises:
        TimeoutError: if it does not start within two minutes.
    """
    import ray

    host = socket.gethostbyname(socket.gethostname())
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ExitStack() as stack:
        lock = stack.enter_context(Path(tempfile.gettempdir(), "dejavu-ray.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Ray takes ports from 10002 on for processes of its own.
        gcs, server = itertools.islice((port for port in range(6400, 10000) if not answers(f"{host}:{port}")), 2)
        head = ("--head", f"--port={gcs}", f"--ray-client-server-port={server}", "--include-dashboard=false")
        options = ("--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block")
        for command in ((*head, f"--temp-dir={folder}"), (f"--address={host}:{gcs}",)):
            process = subprocess.Popen(
                [Path(sys.executable).with_name("ray"), "start", *command, *options],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            until(partial(answers, f"127.0.0.1:{server}"), "the Ray head does not start")
        address = f"ray://127.0.0.1:{server}"
        stack.callback(ray.shutdown)
        ray.init(address)
        resources: Callable[[], dict[str, float]] = ray.cluster_resources
        until(lambda: resources().get("CPU") == 2, "Ray's second node does not join")
        yield address


def until(holds: Callable[[], bool], message: str, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(message)
        time.sleep(0.1)
