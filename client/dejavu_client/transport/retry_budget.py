"""When a client repeats a request by itself, and how often: clients must not multiply the load of a server in trouble.

These are repetitions beside gRPC's retries, which service_config.json limits in the same way (`retryThrottling`).
"""

from __future__ import annotations

import random
import threading

from dejavu_client.errors import CallCancelledError, DejavuClientError, ResourceExhaustedError, UnavailableError

NEVER_REPEATED = frozenset({"Check"})
"""Methods whose requests are sent once, to each server: a health check reports the current state."""

MOST_REPEATS = 2
"""How often the request of one call is sent again at most."""

MOST_FAILOVERS = 2
"""How often more, if there are several servers: gRPC, which sends a request to one server only, then does not."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
"""Pauses before a request is sent again once every server has refused it, in seconds; each is twice as long as the one
before. They are those of service_config.json."""

SHARE = 0.1
"""Share of calls that may be sent again; `tokenRatio` in service_config.json is the same for gRPC's retries."""

BURST = 100.0
"""Requests that may be sent again at once, after a time of calls without trouble. As many calls can leave a worker that
is stopped while they wait for it."""

_AT_ONCE = 0.001
"""The shortest pause, in seconds."""


class RetryBudget:
    """Token bucket: each call adds `share` of a token, up to `burst`; each repeated request takes one. Thread-safe.

    A client that makes n calls so repeats at most `burst` + `share` · n requests, whatever the server does
    (Finagle's RetryBudget; gRFC A6 has the same for gRPC's retries).

    Args:
        share: tokens that a call adds.
        burst: tokens at the start, and the most there can be.
    """

    def __init__(self, share: float = SHARE, burst: float = BURST) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Count a call."""
        with self._lock:
            self._tokens = min(self._burst, self._tokens + self._share)

    def withdraw(self) -> bool:
        """Take a token for a repeated request. Return False, and take nothing, if there is none."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


def repeat_pause(error: DejavuClientError, left: float) -> float | None:
    """Return the seconds after which to repeat a refused request.

    Only an overloaded server that says when to come back is asked again: it refused the call before it computed
    anything. Up to half of the time is added at random, so that refused clients do not all return at once.

    Args:
        error: the refusal.
        left: seconds until the call's deadline.

    Returns:
        The pause; None if the request should not be repeated.
    """
    if not isinstance(error, ResourceExhaustedError) or error.retry_after is None:
        return None
    pause = error.retry_after * (1.0 + random.random() / 2)  # noqa: S311 - spreads out clients, not for security
    return max(pause, _AT_ONCE) if pause < left else None


def failover_pause(error: DejavuClientError, left: float, repeated: int, *, other: bool) -> float | None:
    """Return the seconds after which to send a request again that one of several servers did not answer.

    It is sent at once to a server that it was not sent to yet, otherwise after a pause: the one that the server asks
    for, if it does. Pauses vary by a fifth at random, so that clients do not all return at once.

    Args:
        error: how the attempt ended.
        left: seconds until the call's deadline.
        repeated: how often the request was sent again before.
        other: whether there is a server that it was not sent to yet.

    Returns:
        The pause; None if the request should not be repeated.
    """
    if not isinstance(error, UnavailableError | CallCancelledError):
        return None
    if other:
        return _AT_ONCE
    pause = min(FIRST_PAUSE * 2.0 ** max(0, repeated - 1), LONGEST_PAUSE)
    pause = max(pause, error.retry_after or 0.0) * random.uniform(0.8, 1.2)  # noqa: S311 - as in repeat_pause
    return pause if pause < left else None
