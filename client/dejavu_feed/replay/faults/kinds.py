"""Kinds of feed faults. Nearly all were observed in the NBA's feed; the others are common network faults."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FeedFaultKind(StrEnum):
    """A kind of fault. The value is its name in options and logs."""

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
    FeedFaultKind.FORBIDDEN_PAGE: "status 403 with an HTML page, as from a firewall",
    FeedFaultKind.FORBIDDEN_JSON: "status 403 with the requested JSON",
    FeedFaultKind.SERVER_ERROR: "status 500",
    FeedFaultKind.TIMEOUT: "no response until the client times out",
    FeedFaultKind.TRUNCATED: "a truncated body, with or without the original Content-Length",
    FeedFaultKind.EMPTY: "status 200 without a body",
    FeedFaultKind.HOLLOW: "{} or []",
    FeedFaultKind.STALE: "a file that is some minutes old, as from a stale cache",
    FeedFaultKind.INCOMPLETE: "a play or a game that lacks a field",
    FeedFaultKind.SILENCE: "no response for any file for minutes",
    FeedFaultKind.AHEAD: "a scoreboard whose clock runs ahead of the plays",
    FeedFaultKind.DUPLICATED: "plays listed twice",
    FeedFaultKind.DISORDERED: "plays listed and numbered out of order; only their orderNumber is right",
    FeedFaultKind.CORRECTED: "shots with wrong points or credited to the wrong team, corrected within minutes",
    FeedFaultKind.WITHDRAWN: "plays that did not happen, some just past the end of a minute, removed within minutes",
    FeedFaultKind.TECHNICAL: "games that start at 1–1 because of technical fouls before tip-off",
    FeedFaultKind.POSTPONED: "an additional game that never starts",
    FeedFaultKind.OVERTIME: "the first game tied after four quarters",
    FeedFaultKind.MIDNIGHT: "a scoreboard that changes to the next day and drops games still in progress",
}
"""Description of each kind."""


def parse_kinds(text: str) -> frozenset[FeedFaultKind]:
    """Parses "all" or a comma-separated list of kinds.

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
