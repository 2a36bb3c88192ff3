"""How the NBA's statistics are asked: never too often, again after a while where that may help, and not for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed
from dejavu_feed.nba.stats_service import StatsUnavailable

T = TypeVar("T")


class FetchStopped(FeedError):
    """The service cannot be asked any more for now; what was had stays."""


class RetriesExhausted(FeedError):
    """A question was asked as often as it is worth, and never answered well. Its text is the last reason."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to ask.

    Attributes:
        spacing: seconds from the end of one request until the next begins, at least.
        tries: how often one question is asked.
        first_wait: seconds before the second try; each later one waits twice as long as the one before.
        longest_wait: bound of that.
        longest_told: seconds that a Retry-After may ask for; beyond that the fetch stops rather than waits.
    """

    spacing: float = 0.6
    tries: int = 5
    first_wait: float = 2.0
    longest_wait: float = 60.0
    longest_told: float = 900.0


class RetryingClient:
    """Asks questions one after the other.

    The first one waits too: a fetch that was killed may have asked a moment ago.

    Args:
        pace: how often.
        waiting: told of each wait before another try: its seconds and the reason.
        clock, sleep, chance: time and chance, for tests.
    """

    def __init__(
        self,
        pace: RetryPolicy,
        waiting: Callable[[float, str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._pace = pace
        self._waiting = waiting
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._last = clock()

    def call(self, question: Callable[[], T]) -> T:
        """What a question gives that makes one request; asked again after what passes and what is no answer.

        Raises:
            GaveUp: if no try was answered well, or another try would not help.
            FetchStopped: if the service says to come back much later.
            FeedError: any other that the question raises.
        """
        for tried in range(1, self._pace.tries + 1):
            self._hold(self._last + self._pace.spacing - self._clock())
            try:
                return question()
            except (FeedUnavailable, MalformedFeed) as error:
                wait = self._wait(error, tried)
                if wait is None:
                    raise RetriesExhausted(f"{error}, asked {tried} time{'s' * (tried > 1)}") from error
                reason = str(error)
            finally:
                self._last = self._clock()
            self._waiting(wait, reason)
            self._hold(wait)
        raise AssertionError("the last try returns or raises")

    def _hold(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def _wait(self, error: FeedError, tried: int) -> float | None:
        """How long to wait after a try, in seconds; None if there is to be no other.

        Exponential back-off with "equal jitter" (Brooker, Exponential Backoff And Jitter, AWS 2015).
        """
        told = error.retry_after if isinstance(error, StatsUnavailable) else None
        if told is not None and told > self._pace.longest_told:
            raise FetchStopped(f"{error}: the service says to come back in {told / 60:.0f} min") from error
        if tried == self._pace.tries or (isinstance(error, StatsUnavailable) and not error.passing):
            return None
        wait = min(self._pace.longest_wait, self._pace.first_wait * 2.0 ** (tried - 1)) * (0.5 + self._chance() / 2)
        return max(wait, told or 0.0)
