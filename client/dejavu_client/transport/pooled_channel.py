"""A connection of a pool, and the next step of a call that waits on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from dejavu_client.transport.servers import Server, ServerAddress

ConnectionT = TypeVar("ConnectionT")

QUIET_SECONDS = 0.5
"""Time that a call waits on a connection from which nothing is heard before a probe is sent."""

PROBE_SECONDS = 0.5
"""Time that a probe (a health check) may take before its connection counts as silent."""


class SilenceCheck(NamedTuple):
    """Next step of a call that waits for its answer.

    Attributes:
        wait: seconds to wait before the next check.
        probe: whether to send a probe over the connection first.
        silent: whether the connection is silent, so that the request should also be sent over another one.
    """

    wait: float
    probe: bool = False
    silent: bool = False


@dataclass(slots=True, eq=False)
class PooledChannel(Generic[ConnectionT]):
    """A connection in the pool.

    Attributes:
        connection: the connection that `dial` returned.
        server: the server at its other end.
        worker: name of the worker that last answered on it; empty before the first answer.
        turn: the pool's turn counter when the connection was last taken.
        calls: number of calls in progress on it.
        heard: when the server last sent something over it, by the pool's clock; −∞ before the first answer.
        probed: when the last probe was sent over it.
        silent: whether its last probe was not answered, or it was dialed in place of such a connection and has not
            answered yet.
        replace_at: when to dial a replacement if it is still silent.
    """

    connection: ConnectionT
    server: Server
    worker: str = ""
    turn: int = 0
    calls: int = 0
    heard: float = -math.inf
    probed: float = -math.inf
    silent: bool = False
    replace_at: float = 0.0

    @property
    def worker_key(self) -> tuple[ServerAddress, str]:
        """Key of its worker, unique among the workers of all servers."""
        return self.server.address, self.worker
