"""A `dejavu-server` that is stopped and started again on its port and its ledger, as in an upgrade or after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.processes.servers import SpawnedServer, spawned_server


def address_of(server: SpawnedServer) -> str:
    """HOST:PORT of a server once it serves, which takes its time on a busy machine."""
    return str(server.wait_for("listening", seconds=90.0)["address"])


class Restartable:
    """A server that is started again on its port and its ledger as often as wanted.

    Attributes:
        address: HOST:PORT, the same from start to start.
        server: the one that runs.
    """

    def __init__(self, start: Callable[[str], SpawnedServer]) -> None:
        self._start = start
        self.server = start("127.0.0.1:0")
        self.address = address_of(self.server)

    def start_again(self) -> None:
        """Starts it after its end; it serves when this returns."""
        self.server = self._start(self.address)
        assert address_of(self.server) == self.address


@contextmanager
def restartable_server(ledger: Path) -> Iterator[Restartable]:
    """A server of two workers, to be stopped and started again."""
    with ExitStack() as servers:

        def start(listen: str) -> SpawnedServer:
            arguments = ("--listen", listen, "--workers", "1", "--ledger", f"sqlite:///{ledger}")
            return servers.enter_context(spawned_server(*arguments))

        yield Restartable(start)
