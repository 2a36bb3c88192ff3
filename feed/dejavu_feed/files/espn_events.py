"""Reads events from rows of hoopR's play-by-play (ESPN), whose ids of players are not the NBA's and are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dejavu_feed.events import Event, EventKind
from dejavu_feed.nba.event_rows import attempt_of
from dejavu_feed.printed_numbers import whole

ESPN_TEAMS: Final = {
    1: "ATL",
    2: "BOS",
    3: "NOP",
    4: "CHI",
    5: "CLE",
    6: "DAL",
    7: "DEN",
    8: "DET",
    9: "GSW",
    10: "HOU",
    11: "IND",
    12: "LAC",
    13: "LAL",
    14: "MIA",
    15: "MIL",
    16: "MIN",
    17: "BKN",
    18: "NYK",
    19: "ORL",
    20: "PHI",
    21: "PHX",
    22: "POR",
    23: "SAC",
    24: "SAS",
    25: "OKC",
    26: "UTA",
    27: "WAS",
    28: "TOR",
    29: "MEM",
    30: "CHA",
}
"""ESPN's numbers of teams → NBA codes. A club that moved keeps its number."""

_FEET: Final = re.compile(r"\b([0-9]{1,2})-foot", re.ASCII)
_TRUE: Final = frozenset({"true", "1", "1.0"})

_KINDS: Final = (
    ("free throw", EventKind.FREE_THROW),
    ("rebound", EventKind.REBOUND),
    ("turnover", EventKind.TURNOVER),
    ("traveling", EventKind.TURNOVER),
    ("timeout", EventKind.TIMEOUT),
    ("substitution", EventKind.SUBSTITUTION),
    ("jumpball", EventKind.JUMP_BALL),
    ("jump ball", EventKind.JUMP_BALL),
    ("foul", EventKind.FOUL),
    ("violation", EventKind.VIOLATION),
    ("goaltending", EventKind.VIOLATION),
    ("end period", EventKind.PERIOD_END),
    ("end game", EventKind.OTHER),
    ("shot", EventKind.SHOT),
    ("dunk", EventKind.SHOT),
    ("layup", EventKind.SHOT),
)
"""Parts of `type_text` in lower case → kind; the first one that is in the text counts."""

_DETAILED: Final = frozenset(
    {EventKind.FREE_THROW, EventKind.FOUL, EventKind.TURNOVER, EventKind.VIOLATION, EventKind.REBOUND}
)
"""Kinds with details in `type_text`."""


def espn_event(row: Mapping[Any, Any], period: int, elapsed: float) -> Event:
    """Return the event of a row; values that are missing or invalid are left out."""
    name, text = (str(row.get(column) or "").strip() for column in ("type_text", "text"))
    named = " ".join(name.lower().split())
    kind = next((kind for part, kind in _KINDS if part in named), EventKind.OTHER)
    made = str(row.get("scoring_play")).lower() in _TRUE if kind in (EventKind.SHOT, EventKind.FREE_THROW) else None
    attempt, attempts = attempt_of(named) if kind is EventKind.FREE_THROW else (0, 0)
    feet = _FEET.search(text) if kind is EventKind.SHOT else None
    return Event(
        period,
        elapsed,
        max(0, whole(row.get("sequence_number"))),
        kind,
        team="" if kind is EventKind.JUMP_BALL else ESPN_TEAMS.get(whole(row.get("team_id")), ""),
        made=made,
        value=(3 if "three point" in text.lower() else 2) if kind is EventKind.SHOT else 0,
        distance=float(feet[1]) if feet else None,
        attempt=attempt,
        attempts=attempts,
        detail=named[:40] if kind in _DETAILED else "",
    )
