"""Delays between attempts that fail one after the other."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Exponential backoff: `first` seconds, then `factor` times the previous delay, up to `longest`.

    Args:
        first: first delay, in seconds.
        longest: largest delay, in seconds.
        factor: growth of the delay.
        chance: random numbers in [0, 1), so that clients do not all retry together; None for no jitter. With jitter,
            each delay is between half and all of its full length ("equal jitter", Brooker, Exponential Backoff And
            Jitter, AWS 2015).
    """

    def __init__(
        self, first: float, longest: float, factor: float = 2.0, chance: Callable[[], float] | None = None
    ) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._chance = chance
        self._next = first

    def next(self) -> float:
        """Return the delay before the next attempt, in seconds; each call makes the following one longer."""
        delay, self._next = self._next, min(self._factor * self._next, self._longest)
        return delay if self._chance is None else delay * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """Start again with the first delay."""
        self._next = self._first
