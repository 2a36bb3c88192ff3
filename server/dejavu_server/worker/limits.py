"""Limits of callers and connections, from the settings."""

from __future__ import annotations

from dejavu_server.admission.callers import CallerLimits
from dejavu_server.settings import Settings

_MEBIBYTE = 1024 * 1024

MAX_CONCURRENT_STREAMS = 128
"""Open calls of a connection, for which HTTP/2 recommends at least 100; further calls wait in the client."""


def caller_limits(settings: Settings) -> CallerLimits:
    """Returns the limits of each caller."""
    return CallerLimits(
        calls=settings.caller_calls,
        rate=settings.caller_rate,
        streams=settings.caller_streams,
        games=settings.caller_games,
        ledger_bytes=settings.caller_ledger_mib * _MEBIBYTE,
        loopback=settings.caller_loopback == "on",
    )


def connection_options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of gRPC's core for the age of connections.

    A connection that reaches its age, or is idle for too long, is told to go away: its client opens another one for
    new calls, and no call fails. Calls and streams in progress have the grace time. The core changes the age of each
    connection by up to a tenth, so that those opened together do not come back together.
    """
    options = []
    if settings.connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", _milliseconds(settings.connection_age_seconds)))
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(settings.connection_grace_seconds)))
    if settings.connection_idle_seconds:
        options.append(("grpc.max_connection_idle_ms", _milliseconds(settings.connection_idle_seconds)))
    return options


def queue_options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of gRPC's core for calls that wait until they are accepted.

    The core cancels some of the calls beyond the first limit, and all beyond the second. That costs a small part of
    what a refusal of ours costs, but tells the caller no reason. So the calls of a full connection fit, and as many as
    may be in progress. With room for more, calls under overload wait longer for their refusal, and those that are
    accepted have waited as long; with room for thousands, all were accepted after their deadlines.
    """
    most = max_waiting(settings)
    return [
        ("grpc.server.max_pending_requests", most * 2 // 3),
        ("grpc.server.max_pending_requests_hard_limit", most),
    ]


def max_waiting(settings: Settings) -> int:
    """Returns the second of these limits."""
    return max(MAX_CONCURRENT_STREAMS, settings.max_in_flight) * 3 // 2


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
