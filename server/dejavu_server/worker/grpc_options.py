"""Options of gRPC's core: limits of messages, connections and calls that wait, some of them from the settings."""

from __future__ import annotations

from typing import Final

from dejavu_server.api.decoding import MAX_REQUEST_BYTES
from dejavu_server.settings import Settings

_MEBIBYTE = 1024 * 1024

MAX_CONCURRENT_STREAMS = 128
"""Maximum number of open calls per connection (HTTP/2 recommends at least 100); further calls wait in the client."""

CHANNEL_OPTIONS = {
    "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
    # The answer to a full batch, with explanations and all quantiles, has about 3 MiB.
    "grpc.max_send_message_length": 16 * _MEBIBYTE,
    # Further calls wait in the client, where they cost nothing here, and can't crowd out those of other connections.
    "grpc.max_concurrent_streams": MAX_CONCURRENT_STREAMS,
    # If on, gRPC widens the window of each stream up to megabytes and buffers unread data, also after the request of a
    # health watch, which needs no token. A message that is being received gets the window it needs anyway.
    "grpc.http2.bdp_probe": 0,
    "grpc.enable_channelz": 0,  # its data are served to nobody
    # Clients may send a keepalive ping every 10 s, with or without calls. The server sends a ping every 30 s, which
    # ends the connections of clients that do not read.
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.ping_timeout_ms": 10_000,  # without it gRPC waits a minute for the answer to a ping
    # A connection on which no client begins HTTP/2 is closed after this time.
    "grpc.server_handshake_timeout_ms": 10_000,
}

CONNECTION_GRACE_SECONDS: Final = 60.0
"""Time for which calls and streams may still use a connection that reached its age."""

CONNECTION_IDLE_SECONDS: Final = 900.0
"""Time for which a connection without calls is kept."""

CONNECTION_BYTES: Final = 48 * 1024
"""Measured memory of an idle connection."""

_CONNECTIONS_SHARE: Final = 0.4
"""Share of a worker's memory limit that connections may take."""


def connection_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of gRPC's core for the age of connections.

    A connection that reaches its age, or is idle for too long, gets a GOAWAY: its client opens another one for new
    calls, and no call fails. Calls and streams in progress may go on for the grace time. The core varies the age of
    each connection by up to a tenth, so that connections opened together are not renewed together.
    """
    options = [("grpc.max_connection_idle_ms", _milliseconds(CONNECTION_IDLE_SECONDS))]
    if settings.connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", _milliseconds(settings.connection_age_seconds)))
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(CONNECTION_GRACE_SECONDS)))
    return options


def max_connections(descriptors: int, max_rss: int) -> int:
    """Return the maximum number of connections of a worker; gRPC closes further ones at once, and keeps open ones.

    Args:
        descriptors: the worker's limit of file descriptors; some are needed for files.
        max_rss: resident memory in MiB above which the worker is replaced, and all its streams end; 0: none.
    """
    most = int(0.85 * descriptors)
    if max_rss:
        most = min(most, int(_CONNECTIONS_SHARE * max_rss * _MEBIBYTE / CONNECTION_BYTES))
    return max(1, min(most, 2**31 - 1))  # the core takes no larger number


def queue_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of gRPC's core for calls that wait until they are accepted.

    The core cancels some of the calls beyond the first limit, and all beyond the second. This costs a fraction of a
    refusal by the server, but gives the caller no reason. The limits therefore have room for the calls of a full
    connection and for as many calls as may be in progress. With larger limits, calls under overload wait longer until
    they are refused or accepted; with limits of thousands, all were accepted after their deadlines.
    """
    most = max(MAX_CONCURRENT_STREAMS, settings.max_in_flight) * 3 // 2
    return [("grpc.server.max_pending_requests", most * 2 // 3), ("grpc.server.max_pending_requests_hard_limit", most)]


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
