"""Limits of callers and connections, from the settings."""

from __future__ import annotations

from dejavu_server.admission.callers import CallerLimits
from dejavu_server.settings import Settings

_MEBIBYTE = 1024 * 1024


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


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
