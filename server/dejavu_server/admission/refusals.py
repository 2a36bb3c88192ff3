"""Errors of calls that are refused before they are computed."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class Overloaded(DejavuError, reason="OVERLOADED", category="RESOURCE_EXHAUSTED"):
    """The worker has as much work as it can finish in time."""


class CallerLimit(DejavuError, reason="CALLER_LIMIT", category="RESOURCE_EXHAUSTED"):
    """A caller exceeds a limit of each caller.

    Args:
        limit: name of the limit: calls, batches, rate, streams, games, game_forecasts, model_changes or ledger_bytes.
        most: the limit, in words.
        retry_seconds: seconds after which the caller may try again.
    """

    def __init__(self, limit: str, most: str, retry_seconds: float = 1.0) -> None:
        super().__init__(f"the caller is at its limit of {most}")
        self.limit = limit
        self.retry_seconds = retry_seconds


class WatchLimit(CallerLimit, reason="WATCH_LIMIT", category="UNIMPLEMENTED"):
    """A caller has too many health watches.

    UNIMPLEMENTED: a client that checks health then takes its connection for healthy (gRFC A17). After any other status
    it would not use the connection, and watches that strangers hold would keep callers from their forecasts.
    """


class DeadlineExceeded(DejavuError, reason="DEADLINE_PASSED", category="DEADLINE_EXCEEDED"):
    """A call arrived after its deadline, or had no deadline and exceeded the server's deadline."""
