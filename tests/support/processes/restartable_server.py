"""A `dejavu-server` that tests stop and restart on its port and ledger, as in an upgrade or after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.processes.servers import SpawnedServer, spawned_server


def address_of(server: SpawnedServer) -> str:
    """Return HOST:PORT of a server once it serves, which may take long on a busy machine."""
    return str(server.wait_for("listening", seconds=90.0)["address"])


class Restartable:
    """A server that can be restarted on its port and ledger any number of times.

    Attributes:
        address: HOST:PORT, the same after every restart.
        server: the running server.
    """

    def __init__(self, start: Callable[[str], SpawnedServer]) -> None:
        self._start = start
        self.server = start("127.0.0.1:0")
        self.address = address_of(self.server)

    def start_again(self) -> None:
        """Restart the server after its end; return when it serves."""
        self.server = self._start(self.address)
        assert address_of(self.server) == self.address


@contextmanager
def restartable_server(ledger: Path) -> Iterator[Restartable]:
    """Run a restartable server of one worker, with a model without games."""
    with ExitStack() as servers:

        def start(listen: str) -> SpawnedServer:
            arguments = ("--listen", listen, "--workers", "1", "--ledger", f"sqlite:///{ledger}")
            return servers.enter_context(spawned_server(*arguments))

        yield Restartable(start)
