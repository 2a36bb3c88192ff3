"""The faults of a feed by name. Nearly all of them were seen in the NBA's own; the rest is what any network does."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FeedFaultKind(StrEnum):
    """A kind of fault, with the name that options and logs use."""

    FORBIDDEN_PAGE = "403-html"
    FORBIDDEN_JSON = "403-json"
    SERVER_ERROR = "500"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    HOLLOW = "hollow"
    STALE = "stale"
    INCOMPLETE = "incomplete"
    SILENCE = "silence"
    AHEAD = "ahead"
    DUPLICATED = "duplicated"
    DISORDERED = "disordered"
    CORRECTED = "corrected"
    WITHDRAWN = "withdrawn"
    TECHNICAL = "technical"
    POSTPONED = "postponed"
    OVERTIME = "overtime"
    MIDNIGHT = "midnight"


DESCRIPTIONS: Final[dict[FeedFaultKind, str]] = {
    FeedFaultKind.FORBIDDEN_PAGE: "status 403 with a page of HTML, as from a firewall",
    FeedFaultKind.FORBIDDEN_JSON: "status 403 with the very JSON that was asked for",
    FeedFaultKind.SERVER_ERROR: "status 500",
    FeedFaultKind.TIMEOUT: "an answer that never comes",
    FeedFaultKind.TRUNCATED: "a body that ends in the middle, told by its length or not",
    FeedFaultKind.EMPTY: "status 200 without a body",
    FeedFaultKind.HOLLOW: "{} or []",
    FeedFaultKind.STALE: "a file of some minutes ago, as from a cache that forgot it",
    FeedFaultKind.INCOMPLETE: "a play or a game that lacks a field",
    FeedFaultKind.SILENCE: "no file at all for minutes",
    FeedFaultKind.AHEAD: "a scoreboard whose clock runs ahead of the plays",
    FeedFaultKind.DUPLICATED: "plays listed twice",
    FeedFaultKind.DISORDERED: "plays listed and numbered out of order; their orderNumber alone is right",
    FeedFaultKind.CORRECTED: "shots credited with the wrong points or to the wrong team, and corrected within minutes",
    FeedFaultKind.WITHDRAWN: "plays that never were, some just past the end of a minute, taken back within minutes",
    FeedFaultKind.TECHNICAL: "games that stand at 1–1 before their tip-off",
    FeedFaultKind.POSTPONED: "one game more, which never begins",
    FeedFaultKind.OVERTIME: "the first game tied after four quarters",
    FeedFaultKind.MIDNIGHT: "a scoreboard that turns to the next day while games go on, and drops those games",
}
"""What each kind does."""


def parse_kinds(text: str) -> frozenset[FeedFaultKind]:
    """The kinds that a text names: "all", or some of them with commas between.

    Raises:
        ValueError: if it names none, or an unknown one; says which there are.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return frozenset(FeedFaultKind)
    unknown = [name for name in names if name not in tuple(FeedFaultKind)]
    if unknown or not names:
        raise ValueError(
            f"{', '.join(unknown) or repr(text)} is no kind of fault; there are: all, {', '.join(FeedFaultKind)}"
        )
    return frozenset(map(FeedFaultKind, names))
