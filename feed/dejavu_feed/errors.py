"""Errors of a feed of games.

FeedError
├── FeedUnavailable   no usable response: connection refused, timeout, or a status other than 200
├── MalformedFeed     a response with unexpected content: HTML, truncated, fields missing or of the wrong type
├── StaleFeed         an outdated response: it was correct some minutes ago
├── IncompleteGame    valid plays that do not add up to the game that was played
├── FeedNotInstalled  the libraries of an extra are missing
└── DataError         unusable data of games: a file that cannot be read, or values that contradict each other
"""

from __future__ import annotations

from dejavu_common.build import install


class FeedError(Exception):
    """Base class of feed errors. The message names the problem and its place."""

    def add_place(self, place: str) -> None:
        """Put a place before the message; everything else that the error says stays."""
        self.args = (f"{place}: {self}",)


class FeedUnavailable(FeedError):
    """The feed returned no usable response.

    Attributes:
        transient: whether a later retry may succeed.
        retry_after: seconds to wait according to Retry-After; None if there is none.
    """

    def __init__(self, message: str, *, transient: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class MalformedFeed(FeedError):
    """The feed returned unexpected content. It may recover: the NBA edits its feed during games."""


class StaleFeed(FeedError):
    """The feed returned data that is, or may be, some minutes old. No forecast may be based on it."""


class IncompleteGame(FeedError):
    """A game's plays are valid but do not cover the whole game. An immediate retry does not help."""


class FeedNotInstalled(FeedError):
    """A library is missing. The message names the extra that installs it."""


def not_installed(error: ImportError, what: str, extra: str = "live") -> FeedNotInstalled:
    """Return the error for a missing library: what needs it, with the verb, and the extra that has it."""
    return FeedNotInstalled(f"{error.name} is missing; {what} the extra {extra}: {install(extra)}")


class DataError(FeedError, ValueError):
    """Unusable data of games. The message names the file, if there is one, and the problem."""
