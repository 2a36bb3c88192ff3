"""Rate limit and retries with exponential backoff for requests to the NBA's statistics."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from dejavu_common.clock import Backoff
from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed

T = TypeVar("T")


class FetchStopped(FeedError):
    """The service must not be called for now; games already fetched are kept."""


class RetriesExhausted(FeedError):
    """A request failed permanently or in every attempt; the message is the last error."""


_LONGEST_WAIT: Final = 60.0
"""Upper bound of a wait between two attempts, in seconds."""
_MAX_RETRY_AFTER: Final = 900.0
"""Largest Retry-After to wait for, in seconds; beyond it the fetch stops."""


class RetryingClient:
    """Runs requests one after the other, with rate limit and retries.

    The first request waits too: a fetch that was just killed may have sent one.

    Args:
        waiting: called before each retry, with the wait in seconds and the reason.
        spacing: minimum seconds between the end of one request and the start of the next.
        max_attempts: maximum attempts per request.
        first_wait: seconds before the second attempt; doubles with each further attempt.
        clock, sleep, chance: clock, sleep and random source, replaceable in tests.
    """

    def __init__(
        self,
        waiting: Callable[[float, str], object],
        *,
        spacing: float = 0.6,
        max_attempts: int = 5,
        first_wait: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._waiting = waiting
        self._spacing = spacing
        self._max_attempts = max_attempts
        self._first_wait = first_wait
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._last = clock()

    def call(self, request: Callable[[], T]) -> T:
        """Call a function that makes one request; retry after transient errors and malformed responses.

        Raises:
            RetriesExhausted: if every attempt failed, or a retry would not help.
            FetchStopped: if the service asks for a longer wait than a quarter of an hour.
            FeedError: any other error that the function raises.
        """
        backoff = Backoff(self._first_wait, _LONGEST_WAIT, chance=self._chance)
        for attempt in range(1, self._max_attempts + 1):
            self._pause(self._last + self._spacing - self._clock())
            try:
                return request()
            except (FeedUnavailable, MalformedFeed) as error:
                wait = self._wait(error, attempt, backoff.next())
                if wait is None:
                    raise RetriesExhausted(f"{error}, after {attempt} attempt{'s' * (attempt > 1)}") from error
                reason = str(error)
            finally:
                self._last = self._clock()
            self._waiting(wait, reason)
            self._pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def _wait(self, error: FeedError, attempt: int, wait: float) -> float | None:
        """Return the wait after a failed attempt in seconds, at least `wait`; None if there is no further attempt."""
        retry_after = error.retry_after if isinstance(error, FeedUnavailable) else None
        if retry_after is not None and retry_after > _MAX_RETRY_AFTER:
            raise FetchStopped(f"{error}: the service asks to retry in {retry_after / 60:.0f} min") from error
        if attempt == self._max_attempts or (isinstance(error, FeedUnavailable) and not error.transient):
            return None
        return max(wait, retry_after or 0.0)
