"""Reads events from rows of the NBA's play-by-play: the live feed, PlayByPlayV3 and PlayByPlayV2.

A row must have a period and a clock. Every other field is left out if it is missing or invalid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dejavu_feed.events import Event, EventKind
from dejavu_feed.nba.typed_fields import encodable
from dejavu_feed.printed_numbers import whole
from dejavu_feed.teams import CODES

Row = Mapping[Any, Any]

_ATTEMPT: Final = re.compile(r"([1-3]) of ([1-3])", re.ASCII)
_MOST_FEET: Final = 94.0
_MAX_DETAIL: Final = 40
_MAX_NUMBER: Final = 2**53
"""Bound of ids and numbers: they fit into the integers that all readers of parquet and JSON have."""

_LIVE: Final = {
    "2pt": EventKind.SHOT,
    "3pt": EventKind.SHOT,
    **{kind.value.replace("_", ""): kind for kind in EventKind},
}
_V3: Final = {
    "Made Shot": EventKind.SHOT,
    "Missed Shot": EventKind.SHOT,
    **{kind.value.replace("_", " ").title(): kind for kind in EventKind},
}
_V3_WORDS: Final = {" BLOCK ": EventKind.BLOCK, " STEAL ": EventKind.STEAL}
"""Words in the description of a row without `actionType`."""

_V2: Final = {
    1: EventKind.SHOT,
    2: EventKind.SHOT,
    3: EventKind.FREE_THROW,
    4: EventKind.REBOUND,
    5: EventKind.TURNOVER,
    6: EventKind.FOUL,
    7: EventKind.VIOLATION,
    8: EventKind.SUBSTITUTION,
    9: EventKind.TIMEOUT,
    10: EventKind.JUMP_BALL,
    12: EventKind.PERIOD_START,
    13: EventKind.PERIOD_END,
}
_V2_FREE_THROWS: Final = {
    10: (1, 1, ""),
    11: (1, 2, ""),
    12: (2, 2, ""),
    13: (1, 3, ""),
    14: (2, 3, ""),
    15: (3, 3, ""),
    16: (1, 1, "technical"),
    17: (1, 1, "clear path"),
    18: (1, 2, "flagrant"),
    19: (2, 2, "flagrant"),
    20: (1, 1, "flagrant"),
    25: (1, 2, "clear path"),
    26: (2, 2, "clear path"),
    27: (1, 3, "flagrant"),
    28: (2, 3, "flagrant"),
    29: (3, 3, "flagrant"),
}
"""EVENTMSGACTIONTYPE of a free throw → its number, the number of all in a row, and its kind."""

_V2_FOULS: Final = {
    1: "personal",
    2: "shooting",
    3: "loose ball",
    4: "offensive",
    5: "inbound",
    6: "away from play",
    9: "clear path",
    11: "technical",
    14: "flagrant type 1",
    15: "flagrant type 2",
    17: "defensive 3 seconds",
    26: "offensive charge",
    27: "personal block",
    28: "personal take",
}
"""EVENTMSGACTIONTYPE of a foul → its kind."""

_V2_OTHER_PLAYER: Final = frozenset({EventKind.SHOT, EventKind.FOUL, EventKind.TURNOVER, EventKind.SUBSTITUTION})
"""Kinds with a second player: who passed, was fouled, stole the ball, or enters."""


def live_event(row: Row, period: int, elapsed: float, order: int) -> Event:
    """Return the event of a row of the live feed's play-by-play."""
    kind = _LIVE.get(_text(row, "actionType"), EventKind.OTHER)
    return _nba_event(row, kind, _text(row, "shotResult"), period, elapsed, order)


def v3_event(row: Row, period: int, elapsed: float, order: int) -> Event:
    """Return the event of a row of PlayByPlayV3. Blocks and steals have no kind there; the description names them."""
    kind = _V3.get(_text(row, "actionType"), EventKind.OTHER)
    description = _text(row, "description")
    if not _text(row, "actionType"):
        kind = next((kind for word, kind in _V3_WORDS.items() if word in description), EventKind.OTHER)
    if kind is EventKind.JUMP_BALL:  # its team is that of the first jumper; the winner has none
        return Event(period, elapsed, _number(order), kind)
    result = "Made" if _text(row, "actionType") == "Made Shot" else "Missed"
    if kind is EventKind.FREE_THROW:  # its result is only in the description
        result = "Missed" if description.startswith("MISS") else "Made"
    return _nba_event(row, kind, result, period, elapsed, order)


def _nba_event(row: Row, kind: EventKind, result: str, period: int, elapsed: float, order: int) -> Event:
    detail = _text(row, "subType").lower()
    if _text(row, "actionType") == "period":
        kind = EventKind.PERIOD_START if detail == "start" else EventKind.PERIOD_END
    made = result == "Made" if kind in (EventKind.SHOT, EventKind.FREE_THROW) else None
    attempt, attempts = attempt_of(detail) if kind is EventKind.FREE_THROW else (0, 0)
    if kind is EventKind.FOUL:
        attempts = _given(row.get("qualifiers"))
    return Event(
        period,
        elapsed,
        _number(order),
        kind,
        team=_team(row.get("teamId")) or _team(row.get("personId")),  # the person is a team in team rebounds, turnovers
        made=made,
        value=_value(row) if kind is EventKind.SHOT else 0,
        distance=_distance(row.get("shotDistance")) if kind is EventKind.SHOT else None,
        attempt=attempt,
        attempts=attempts,
        detail=" ".join(part for part in (_text(row, "descriptor").lower(), detail) if part)[:_MAX_DETAIL],
        player=_player(row.get("personId")),
        other_player=_player(row.get("assistPersonId")) or _player(row.get("foulDrawnPersonId")),
    )


def _value(row: Row) -> int:
    """Return the points of a shot if made: the live feed has them in the action, PlayByPlayV3 in `shotValue`."""
    action = _text(row, "actionType")
    number = whole(row.get("shotValue"))
    return {"2pt": 2, "3pt": 3}.get(action, number if number in (2, 3) else 0)


def v2_event(row: Row, period: int, elapsed: float, order: int) -> Event:
    """Return the event of a row of PlayByPlayV2."""
    message = whole(row.get("EVENTMSGTYPE"))
    kind, action = _V2.get(message, EventKind.OTHER), whole(row.get("EVENTMSGACTIONTYPE"))
    # For a blocked shot or a steal, the other team has a description as well.
    text = " ".join(_text(row, name) for name in ("HOMEDESCRIPTION", "VISITORDESCRIPTION"))
    if kind is EventKind.JUMP_BALL:
        winner = _team(row.get("PLAYER3_TEAM_ID")) or _team(row.get("PLAYER3_ID"))
        return Event(period, elapsed, _number(order), kind, team=winner, player=_player(row.get("PLAYER3_ID")))
    made = None
    if kind is EventKind.SHOT:
        made = message == 1
    elif kind is EventKind.FREE_THROW:
        made = "MISS" not in text
    attempt, attempts, detail = 0, 0, ""
    if kind is EventKind.FREE_THROW:
        attempt, attempts, detail = _V2_FREE_THROWS.get(action, (1, 1, ""))
    elif kind is EventKind.FOUL:
        detail = _V2_FOULS.get(action, "")
    return Event(
        period,
        elapsed,
        _number(order),
        kind,
        team=_team(row.get("PLAYER1_TEAM_ID")) or _team(row.get("PLAYER1_ID")),  # as in `_nba_event`
        made=made,
        value=(3 if "3PT" in text else 2) if kind is EventKind.SHOT else 0,
        attempt=attempt,
        attempts=attempts,
        detail=detail,
        player=_player(row.get("PLAYER1_ID")),
        other_player=_player(row.get("PLAYER2_ID")) if kind in _V2_OTHER_PLAYER else 0,
    )


def _given(qualifiers: object) -> int:
    """Return the free throws that a foul gives: the live feed says "2freethrow" among its qualifiers."""
    known = qualifiers if isinstance(qualifiers, list) else []
    return next((number for number in (1, 2, 3) if f"{number}freethrow" in known), 0)


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return encodable(value).strip() if isinstance(value, str) and value != "NA" else ""


def _number(order: int) -> int:
    """Return the place in the order of entry; 0 if no file has room for it."""
    return order if abs(order) < _MAX_NUMBER else 0


def _team(number: object) -> str:
    return CODES.get(whole(number), "")


def _player(number: object) -> int:
    player = whole(number)
    return player if 0 < player < _MAX_NUMBER and player not in CODES else 0


def _distance(value: object) -> float | None:
    try:
        feet = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return feet if 0 <= feet <= _MOST_FEET else None


def attempt_of(detail: str) -> tuple[int, int]:
    """Parse the number of a free throw, and that of all in a row, such as "1 of 2"; return 1 of 1 for other texts."""
    match = _ATTEMPT.search(detail)
    return (int(match[1]), int(match[2])) if match else (1, 1)
