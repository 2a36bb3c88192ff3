"""Delays between attempts that fail one after the other."""

from __future__ import annotations


class Backoff:
    """Exponential backoff: `first` seconds, then `factor` times the previous delay, up to `longest`.

    Args:
        first: first delay, in seconds.
        longest: largest delay, in seconds.
        factor: growth of the delay.
    """

    def __init__(self, first: float, longest: float, factor: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._next = first

    def next(self) -> float:
        """Returns the delay before the next attempt, in seconds; each call makes the following one longer."""
        delay, self._next = self._next, min(self._factor * self._next, self._longest)
        return delay

    def reset(self) -> None:
        """Starts again with the first delay."""
        self._next = self._first
