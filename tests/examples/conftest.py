"""A real server for the examples to call, and the Node example ready to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support import examples
from tests.support.servers import SpawnedServer, spawned_server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of two workers with the bundle that ships, for all tests of a file."""
    ledger = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite3'}"
    with spawned_server("--workers", "2", "--ledger", ledger) as server:
        yield server.address


class Restartable:
    """A server that is started again on its port and its ledger as often as wanted.

    Attributes:
        address: HOST:PORT, the same from start to start.
        server: the one that runs.
    """

    def __init__(self, start: Callable[[str], SpawnedServer]) -> None:
        self._start = start
        self.server = start("127.0.0.1:0")
        self.address = self.server.address

    def start_again(self) -> None:
        """Starts it after its end; it serves when this returns."""
        self.server = self._start(self.address)
        assert self.server.address == self.address


@contextmanager
def restartable_server(ledger: Path) -> Iterator[Restartable]:
    """A server of two workers, to be stopped and started again."""
    with ExitStack() as servers:

        def start(listen: str) -> SpawnedServer:
            arguments = ("--listen", listen, "--workers", "2", "--ledger", f"sqlite:///{ledger}")
            return servers.enter_context(spawned_server(*arguments))

        yield Restartable(start)


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Restartable]:
    with restartable_server(tmp_path / "ledger.sqlite3") as server:
        yield server


@pytest.fixture(scope="session")
def node() -> str:
    """The node to run examples/node with, which is built; skips where node or npm is missing, fails in CI."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        made = subprocess.run(
            ["make", "-s", "install-node"], cwd=examples.ROOT, capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            return found
        missing = f"make install-node: {made.stderr or made.stdout}"
    else:
        missing = "node or npm is not installed"
    if os.environ.get("DEJAVU_CI") == "1":
        pytest.fail(f"{missing}; CI must test the Node example")
    pytest.skip(missing)
