"""What can go wrong with a feed of games.

FeedError
├── FeedUnavailable   no answer worth reading: refused, timed out, a status other than 200
├── MalformedFeed     an answer that is not what the feed promises: HTML, cut off, fields missing or of another type
├── StaleFeed         an answer of the past: it was right some minutes ago
├── IncompleteGame    plays that read well and do not make up the game that was played
├── FeedNotInstalled  the libraries of an extra are missing
└── BadGamesFile      a file of recorded games that cannot be read
"""

from __future__ import annotations


class FeedError(Exception):
    """Whatever is wrong with a feed; its text says what and where."""


class FeedUnavailable(FeedError):
    """The feed gave no answer worth reading. Asking again later may help."""


class MalformedFeed(FeedError):
    """The feed answered something else than it promises. It may mend itself: the NBA edits its feed while games run."""


class StaleFeed(FeedError):
    """The feed answered with what was right some minutes ago, or may have been: nothing is to be forecast from it."""


class IncompleteGame(FeedError):
    """A game's plays read well, but are not those of the whole game. Asking again at once does not help."""


class FeedNotInstalled(FeedError):
    """A library is missing; the text names the extra that brings it."""


class BadGamesFile(FeedError):
    """A file of recorded games cannot be read, or holds no game that can be replayed."""
