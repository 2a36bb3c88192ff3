"""Kinds of feed faults. Nearly all were observed in the NBA's feed; the others are common network faults."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class FeedFaultKind(StrEnum):
    """A kind of fault. The value is its name in options and logs.

    Attributes:
        description: effect of the fault.
    """

    description: str

    def __new__(cls, value: str, description: str = "") -> Self:
        """Make a kind from its name and description."""
        kind = str.__new__(cls, value)
        kind._value_, kind.description = value, description
        return kind

    FORBIDDEN_PAGE = "403-html", "status 403 with an HTML page, as from a firewall"
    FORBIDDEN_JSON = "403-json", "status 403 with the requested JSON"
    SERVER_ERROR = "500", "status 500"
    TIMEOUT = "timeout", "no response until the client times out"
    TRUNCATED = "truncated", "a truncated body, with or without the original Content-Length"
    EMPTY = "empty", "status 200 without a body"
    HOLLOW = "hollow", "{} or []"
    STALE = "stale", "a file that is some minutes old, as from a stale cache"
    INCOMPLETE = "incomplete", "a play or a game that lacks a field"
    DAMAGED = "damaged", "plays with an empty or impossible clock, period, order, score or action"
    SILENCE = "silence", "no response for any file for minutes"
    AHEAD = "ahead", "a scoreboard whose clock runs ahead of the plays"
    DUPLICATED = "duplicated", "plays listed twice"
    DISORDERED = "disordered", "plays listed and numbered out of order; only their orderNumber is right"
    CORRECTED = "corrected", "shots with wrong points or credited to the wrong team, corrected within minutes"
    WITHDRAWN = "withdrawn", "plays that did not happen, some just past the end of a minute, removed within minutes"
    TECHNICAL = "technical", "games that start at 1–1 because of technical fouls before tip-off"
    POSTPONED = "postponed", "an additional game that never starts"
    OVERTIME = "overtime", "the first game tied after four quarters"
    MIDNIGHT = "midnight", "a scoreboard that changes to the next day and drops games still in progress"


def parse_kinds(text: str) -> frozenset[FeedFaultKind]:
    """Parse "all" or a comma-separated list of kinds.

    Raises:
        ValueError: if the list is empty or has an unknown kind; the message lists the valid ones.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return frozenset(FeedFaultKind)
    unknown = [name for name in names if name not in tuple(FeedFaultKind)]
    if unknown or not names:
        raise ValueError(
            f"{', '.join(unknown) or repr(text)} is not a kind of fault; expected: all, {', '.join(FeedFaultKind)}"
        )
    return frozenset(map(FeedFaultKind, names))
