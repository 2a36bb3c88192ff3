"""Rules for automatic repetition of requests: clients must not multiply the load of a server in trouble.

These are repetitions beside gRPC's retries, which service_config.json limits in the same way (`retryThrottling`).
"""

from __future__ import annotations

import random

from dejavu_client.errors import CallCancelledError, DejavuClientError, ResourceExhaustedError, UnavailableError

MOST_REPEATS = 2
"""Maximum number of times that the request of one call is sent again."""

MOST_FAILOVERS = 2
"""Additional repetitions if there are several servers: they replace gRPC's retries, which would go to one server
only."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
"""Pauses before a request is sent again once every server has refused it, in seconds; each is twice as long as the one
before. service_config.json has the same pauses."""

SHARE = 0.1
"""Share of calls that may be sent again; `tokenRatio` in service_config.json is the same for gRPC's retries."""

BURST = 100.0
"""Number of requests that may be sent again at once, after a time of calls without trouble. So this many calls can
switch to another worker if the one that they wait for is stopped."""

_AT_ONCE = 0.001
"""The shortest pause, in seconds."""


def most_repeats(method: str, *, several: bool) -> int:
    """Return how often the request of a call may be sent again.

    Args:
        method: name of the method. A health check must report the current state: it is sent again only to
            another server.
        several: whether there are several servers.
    """
    return MOST_REPEATS * (method != "Check") + MOST_FAILOVERS * several


class RetryBudget:
    """Token bucket: each call adds `share` of a token, up to `burst`; each repeated request takes one.

    So a client that makes n calls repeats at most `burst` + `share` · n requests, whatever the server does (as
    Finagle's RetryBudget; gRFC A6 specifies the same for gRPC's retries).

    Args:
        share: tokens that a call adds.
        burst: initial and maximum number of tokens.
    """

    def __init__(self, share: float = SHARE, burst: float = BURST) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst

    def deposit(self) -> None:
        """Count a call."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def withdraw(self) -> bool:
        """Take a token for a repeated request. Return False, and take nothing, if there is none."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def repeat_pause(error: DejavuClientError, left: float) -> float | None:
    """Return the seconds after which to repeat a refused request.

    A request is repeated only if an overloaded server refused it and named a delay: nothing was computed yet. Up to
    half of the time is added at random, so that refused clients do not all return at once.

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
    """Return the seconds after which to repeat a request that one of several servers did not answer.

    A server that has not received it yet gets it at once. Otherwise it is sent after a pause, or after the longer one
    that the server asks for. Pauses vary by a fifth at random, so that clients do not all return at once, but are never
    shorter than the server asks for.

    Args:
        error: how the attempt ended.
        left: seconds until the call's deadline.
        repeated: how often the request was sent again before.
        other: whether there is a server to which the request was not sent yet.

    Returns:
        The pause; None if the request should not be repeated.
    """
    if not isinstance(error, UnavailableError | CallCancelledError):
        return None
    if other:
        return _AT_ONCE
    least = error.retry_after or 0.0
    pause = max(min(FIRST_PAUSE * 2.0 ** max(0, repeated - 1), LONGEST_PAUSE), least)
    pause = max(pause * random.uniform(0.8, 1.2), least * random.uniform(1.0, 1.2))  # noqa: S311 - as in repeat_pause
    return pause if pause < left else None
