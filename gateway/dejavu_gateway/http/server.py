"""Runs a gateway: listens, serves until a signal, then drains."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Final

import uvicorn

from dejavu_common.address import Address
from dejavu_gateway.http.connections import HttpConnection
from dejavu_gateway.http.envelope import Envelope
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.logs import get_logger
from dejavu_gateway.settings import GatewaySettings

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 30
HEADER_BYTES: Final = 16 * 1024
"""Maximum size of a request line with its headers."""
WEBSOCKET_MESSAGE_BYTES: Final = 1024
"""Maximum message of a program; no message is expected."""

SEND_BUFFER: Final = 128 * 1024
"""Bytes that the kernel buffers for a browser; by default the buffer grows to megabytes."""

log = get_logger()


def bind(listen: Address, stalled_seconds: float) -> socket.socket:
    """Return a listening socket, whose connections have its options.

    Args:
        listen: where to listen.
        stalled_seconds: time after which the kernel drops a connection that takes none of its unsent bytes.

    Raises:
        OSError: if the address cannot be bound.
    """
    family, numeric = listen.resolve()
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * stalled_seconds))
        listener.bind(numeric)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(app: Envelope, feed: LiveFeed, settings: GatewaySettings, listener: socket.socket) -> bool:
    """Serve until a signal; the first SIGTERM or SIGINT drains, a second one ends it at once.

    Args:
        app: the application.
        feed: the feed of the application, whose live streams end with a drain.
        settings: settings of the gateway.
        listener: where to listen.

    Returns:
        Whether all requests in progress were answered.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            http=HttpConnection,
            h11_max_incomplete_event_size=HEADER_BYTES,
            limit_concurrency=settings.limits.connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
            ws="websockets-sansio",
            ws_max_size=WEBSOCKET_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # compression would take a quarter of a megabyte for each connection
        )
    )

    def on_signal() -> None:
        log.info("draining")
        server.force_exit = server.should_exit
        server.should_exit = True
        feed.drain()

    address = Address(settings.listen.host, listener.getsockname()[1])
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.sleep(0)  # replaces uvicorn's handlers, which would raise the signal again at the end
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    log.info("listening", address=str(address), url=f"http://{address}/", target=feed.client.target)
    await serving
    return not server.force_exit
