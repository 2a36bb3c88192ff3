"""Free ports, open connections, and new ones that send bytes that no gRPC library would send."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from contextlib import suppress

import psutil

_STATUS = re.compile(rb"grpc-status.(\d+)", re.DOTALL)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses, for a program that cannot pick one.

    It is below those from which the kernel picks: no other process gets it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def answers(address: str) -> bool:
    """Return whether somebody accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


async def received(address: str, data: bytes) -> bytes:
    """Return the bytes received on a new connection, until the server closes it or sends a status."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = b""
    try:
        async with asyncio.timeout(20):
            while b"grpc-status" not in answer and (chunk := await reader.read(65536)):
                answer += chunk
    except ConnectionError:
        pass  # the server closed it before it had read everything
    writer.transport.abort()
    return answer


async def status_of(address: str, data: bytes) -> int | None:
    """Return the gRPC status of a call on a new connection; None if the server closed it without one."""
    found = _STATUS.search(await received(address, data))
    return int(found[1]) if found else None


def connections_to(address: str) -> set[int]:
    """Local ports of this process's connections to an address."""
    port = int(address.rpartition(":")[2])
    mine = [each for each in psutil.Process().net_connections("tcp") if each.status == "ESTABLISHED"]
    return {each.laddr.port for each in mine if each.raddr[1] == port}
