"""Listens for the notifications of others' commits, over a connection of its own in the event loop.

After every (re)connect it reports a commit before any notification, so that its users read the ledger and miss no
commit made while there was no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from dejavu_common.clock import Backoff
from dejavu_common.failure_log import FailureLog

_log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 5.0


def channel_of(ledger_id: str) -> str:
    """Return the channel of a ledger, an identifier of SQL; `ledger_id` is hexadecimal."""
    return f"dejavu_{int(ledger_id, 16):032x}"


class PostgresListener:
    """Calls a function after every commit of others. Create and close it in the event loop.

    Args:
        parameters: of libpq.
        channel: the channel of the ledger.
        committed: called at every notification except those of this process, and after every connect.
        own_session: returns the process id of the database's session that sends the notifications of this process,
            which knows what it has committed; 0 if there is none.

    Attributes:
        is_listening: whether it is connected.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        channel: str,
        committed: Callable[[], None],
        own_session: Callable[[], int] = lambda: 0,
    ) -> None:
        self._parameters = parameters
        self._channel = channel
        self._committed = committed
        self._own_session = own_session
        self.is_listening = False
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._failures = FailureLog(_log, failed="ledger_listener_failing", recovered="ledger_listener_recovered")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-listener")

    def close(self) -> None:
        """Stop listening."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                self._failures.failed(error, traceback=False, effect="streams lag by up to a second; retries")
            await asyncio.sleep(self._backoff.next())

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {self._channel}".encode())
            self._failures.succeeded()
            self._backoff.reset()
            self._committed()
            self.is_listening = True
            try:
                async for notification in connection.notifies():
                    if notification.pid != self._own_session():
                        self._committed()
            finally:
                self.is_listening = False
