"""Idle connections to a server: some never send a byte, some begin HTTP/2 but make no call."""

from __future__ import annotations

import asyncio

DIALS_AT_ONCE = 64

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""Beginning of an HTTP/2 connection, with empty settings."""

_PING_AND_ACK = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0]) + bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)
"""Acknowledges the server's settings and pings once, like a connection that was in use."""


class Idle:
    """Idle connections to a server.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = asyncio.Semaphore(0)
        self._dialling = asyncio.Semaphore(DIALS_AT_ONCE)

    async def open(self, number: int) -> None:
        """Open connections; return once each is open or refused."""
        self._tasks = [asyncio.create_task(self._hold(each % 3)) for each in range(number)]
        for _ in range(number):
            await self._opened.acquire()

    async def close(self) -> None:
        """Close them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _hold(self, kind: int) -> None:
        try:
            async with self._dialling:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                if kind:
                    writer.write(PREFACE)
                    if kind == 2:
                        writer.write(_PING_AND_ACK)
        except OSError:
            return
        finally:
            self._opened.release()
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            writer.transport.abort()
