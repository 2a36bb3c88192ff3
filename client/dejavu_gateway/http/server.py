"""Runs a gateway: listens, serves until a signal, then drains."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator
from functools import partial
from typing import Final

import uvicorn

from dejavu_common.address import Address
from dejavu_common.tasks import BackgroundTask, repeat
from dejavu_gateway.http.connections import SWEEP_SECONDS, HttpConnection, WebSocketConnection
from dejavu_gateway.http.envelope import Envelope
from dejavu_gateway.http.gate import ConnectionGate
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.logs import get_logger, on_repeat_failed
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings

BACKLOG: Final = 2048
WEBSOCKET_MESSAGE_BYTES: Final = 1024
"""Maximum message of a program; no message is expected."""

log = get_logger()


def bind(listen: Address) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: if the address cannot be bound.
    """
    family, numeric = listen.resolve()
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(numeric)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class GatewayServer(uvicorn.Server):
    """A uvicorn server with the gateway's connections, which ends live streams when it drains.

    Args:
        app: the application.
        feed: the feed of the application.
        settings: settings of the gateway.
        metrics: metrics of the gateway.
    """

    def __init__(self, app: Envelope, feed: LiveFeed, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        limits = settings.limits
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            http="h11",
            ws="websockets-sansio",
            timeout_keep_alive=limits.keep_alive_seconds,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
            ws_max_size=WEBSOCKET_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # compression would take a quarter of a megabyte for each connection
        )
        config.load()
        gate = ConnectionGate(limits, settings.trusted_proxies, metrics)
        config.http_protocol_class = partial(HttpConnection, gate)  # type: ignore[assignment]
        config.ws_protocol_class = partial(WebSocketConnection, gate)  # type: ignore[assignment]
        super().__init__(config)
        self._feed = feed
        self._gate = gate
        self._host = settings.listen.host
        self._sweeper = BackgroundTask()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, with signals handled."""
        await super().startup(sockets)
        for listener in sockets or ():
            address = Address(self._host, listener.getsockname()[1])
            log.info("listening", address=str(address), url=f"http://{address}/", target=self._feed.client.target)
        self._sweeper.start(repeat(SWEEP_SECONDS, self._sweep, on_repeat_failed("sweep")), "sweep")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: no new connections, requests in progress are answered, live streams end."""
        log.info("draining")
        asyncio.get_running_loop().call_soon(self._feed.drain)  # after uvicorn has marked all connections to be closed
        await super().shutdown(sockets)
        await self._sweeper.end()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Drain on SIGTERM and SIGINT; a second signal ends the process at once.

        uvicorn would raise the signal again at the end.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def _sweep(self) -> None:
        self._gate.sweep(asyncio.get_running_loop().time())
