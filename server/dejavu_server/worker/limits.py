"""Limits of callers and connections, most of them from the settings."""

from __future__ import annotations

from typing import Final

from dejavu_server.admission.callers import CallerLimits
from dejavu_server.admission.controller import batch_limit
from dejavu_server.admission.watches import MAX_WATCHES
from dejavu_server.settings import Settings

_MEBIBYTE = 1024 * 1024

MAX_REQUEST_BYTES = _MEBIBYTE * 3 // 2
"""Largest request: a full batch with all that a request may have has 1.2 MiB, a chunk of a bundle 1 MiB."""

MAX_CONCURRENT_STREAMS = 128
"""Open calls of a connection, for which HTTP/2 recommends at least 100; further calls wait in the client."""

CHANNEL_OPTIONS = {
    "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
    # The answer to a full batch, with explanations and all quantiles, has about 3 MiB.
    "grpc.max_send_message_length": 16 * _MEBIBYTE,
    # Further calls wait in the client, where they cost nothing here, and can't crowd out those of other connections.
    "grpc.max_concurrent_streams": MAX_CONCURRENT_STREAMS,
    # Otherwise gRPC widens the window of each stream up to megabytes and buffers unread data, also after the request of
    # a health watch, which needs no token. A message that is being received has the window it needs.
    "grpc.http2.bdp_probe": 0,
    "grpc.enable_channelz": 1,  # the service is a setting
    "grpc.max_channel_trace_event_memory_per_node": 0,
    # Clients may send a keepalive ping every 10 s, with or without calls; the server sends one every 30 s,
    # which ends the connections of those that do not read.
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.ping_timeout_ms": 10_000,  # without it gRPC waits a minute for the answer to a ping
    # A connection on which no client begins HTTP/2 is closed after this time.
    "grpc.server_handshake_timeout_ms": 10_000,
}


_GAME_FORECASTS: Final = 200
"""Forecasts of one game that a caller can record at least: a poller's, of both horizons, and corrections."""


def caller_limits(settings: Settings) -> CallerLimits:
    """Return the limits of each caller."""
    return CallerLimits(
        calls=settings.caller_calls,
        batches=batch_limit(settings.max_in_flight) // 2 if settings.caller_calls else 0,  # so that no caller has all
        rate=settings.caller_rate,
        streams=settings.caller_streams,
        games=settings.caller_games,
        game_forecasts=_caller_game_forecasts(settings) if settings.caller_games else 0,
        ledger_bytes=settings.caller_ledger_mib * _MEBIBYTE,
        loopback=settings.caller_loopback == "on",
    )


def _caller_game_forecasts(settings: Settings) -> int:
    """Return how many forecasts of a game a caller may record by a worker: a quarter of the game's by all workers."""
    return max(_GAME_FORECASTS, settings.max_game_forecasts // (4 * settings.workers))


CONNECTION_BYTES: Final = 48 * 1024
"""Measured memory of an idle connection."""

_CONNECTIONS_SHARE: Final = 0.4
"""Of the memory of a worker that is replaced above a limit, the share that connections may take."""


def connection_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of gRPC's core for the age of connections.

    A connection that reaches its age, or is idle for too long, gets a GOAWAY: its client opens another one for new
    calls, and no call fails. Calls and streams in progress have the grace time. The core varies the age of each
    connection by up to a tenth, so that connections opened together are not renewed together.
    """
    options = []
    if settings.connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", _milliseconds(settings.connection_age_seconds)))
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(settings.connection_grace_seconds)))
    if settings.connection_idle_seconds:
        options.append(("grpc.max_connection_idle_ms", _milliseconds(settings.connection_idle_seconds)))
    return options


def max_connections(descriptors: int, max_rss: int) -> int:
    """Return the maximum number of connections of a worker; gRPC closes further ones at once, and keeps open ones.

    Args:
        descriptors: the worker's limit of descriptors, of which files need some.
        max_rss: resident memory in MiB above which the worker is replaced, and all its streams end; 0: none.
    """
    most = int(0.85 * descriptors)
    if max_rss:
        most = min(most, int(_CONNECTIONS_SHARE * max_rss * _MEBIBYTE / CONNECTION_BYTES))
    return max(1, min(most, 2**31 - 1))  # the core takes no larger number


WATCH_BYTES: Final = 25 * 1024
"""Measured memory of a health watch; what its client sends and nobody reads may take 64 KiB more."""

_WATCHES_SHARE: Final = 0.1
"""Of the memory of a worker that is replaced above a limit, the share that health watches may take."""


def max_watches(max_rss: int) -> int:
    """Return the maximum number of health watches and reflection streams of a worker; see `max_connections`."""
    return min(MAX_WATCHES, int(_WATCHES_SHARE * max_rss * _MEBIBYTE / WATCH_BYTES)) if max_rss else MAX_WATCHES


def queue_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of gRPC's core for calls that wait until they are accepted.

    The core cancels some of the calls beyond the first limit, and all beyond the second. That costs a small part of a
    refusal by the server, but gives the caller no reason. So the calls of a full connection fit, and as many as may be
    in progress. With larger limits calls under overload wait longer for a refusal or for their acceptance; with limits
    of thousands all were accepted after their deadlines.
    """
    most = max(MAX_CONCURRENT_STREAMS, settings.max_in_flight) * 3 // 2
    return [
        ("grpc.server.max_pending_requests", most * 2 // 3),
        ("grpc.server.max_pending_requests_hard_limit", most),
    ]


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
