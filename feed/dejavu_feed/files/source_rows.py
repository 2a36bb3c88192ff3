"""Reads the rows of other people's play-by-play files: hoopR, pbpstats and nba_api.

Only this module knows these files' columns:

- hoopR's load_nba_pbp (ESPN): one row per play, with the score after it, the teams and the date. Ids are ESPN's.
- pbpstats saves responses of the NBA's PlayByPlayV2 (pbp/stats_{game_id}.json): SCORE is "away - home" and is given
  only on rows that score; PERSON1TYPE gives the side of the player or team.
- nba_api: PlayByPlayV3 and the live feed's play-by-play, whose scores may be empty on rows that score nothing.

ESPN's ids of players are not the NBA's and are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from dejavu_feed.events import Event, EventKind
from dejavu_feed.files.game_list import EXPECTED_DAY, day_of, nba_id
from dejavu_feed.files.plays_format import MAX_SCORE
from dejavu_feed.files.tables import is_missing
from dejavu_feed.game_ids import COMPETITIVE
from dejavu_feed.nba.event_rows import attempt_of, live_event, v2_event, v3_event
from dejavu_feed.nba.typed_fields import clock_seconds
from dejavu_feed.pattern import Score, elapsed_seconds, period_seconds
from dejavu_feed.printed_numbers import whole
from dejavu_feed.teams import CODES, team_code

_ESPN_ORDER: Final = (
    *("ATL", "BOS", "NOP", "CHI", "CLE", "DAL", "DEN", "DET", "GSW", "HOU"),
    *("IND", "LAC", "LAL", "MIA", "MIL", "MIN", "BKN", "NYK", "ORL", "PHI"),
    *("PHX", "POR", "SAC", "SAS", "OKC", "UTA", "WAS", "TOR", "MEM", "CHA"),
)
ESPN_TEAMS: Final = dict(enumerate(_ESPN_ORDER, start=1))
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


MAX_PERIOD: Final = 14
"""Last period that a game can have: ten overtimes; the longest NBA game had six."""

_CLOCK: Final = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,2}(?:\.[0-9]+)?)", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]+(\.0*)?", re.ASCII)
_SCORE: Final = re.compile(r"([0-9]{1,3}) - ([0-9]{1,3})", re.ASCII)

_ESPN_PHASES: Final = {2: "RS", 3: "PO", 5: "PI"}


class Source(StrEnum):
    """Project whose files are read; the value is the name on the command line."""

    PLAYS = "plays"
    HOOPR = "hoopr"
    PBPSTATS = "pbpstats"
    NBA_API = "nba_api"


@dataclass(slots=True)
class SourceRow:
    """Values of a row, and their errors.

    Attributes:
        values: by column; see `is_missing`.
        problems: (column, message) of each invalid value.
    """

    values: Mapping[Any, Any]
    problems: list[tuple[str, str]] = field(default_factory=list)

    def text(self, column: str) -> str:
        """Return a value as text; "" if it is missing."""
        value = self.values.get(column)
        return "" if is_missing(value) else str(value).strip()

    def required(self, column: str) -> str:
        """Return a value as text; add a problem if it is missing."""
        if not (text := self.text(column)):
            self.problems.append((column, f"{column} is missing"))
        return text

    def refuse(self, column: str, expected: str) -> None:
        """Add the error of an unexpected value."""
        self.problems.append((column, f"{column} is {self.text(column)!r}, expected {expected}"))

    def whole(self, column: str, low: int, high: int) -> int:
        """Return a required whole number within bounds."""
        text = self.required(column)
        number = int(float(text)) if _WHOLE.fullmatch(text) and len(text) < 16 else -1
        if text and not low <= number <= high:
            self.refuse(column, f"{low} to {high}")
        return number

    def real(self, column: str, low: float, high: float) -> float:
        """Return a required number within bounds."""
        text = self.required(column)
        try:
            number = float(text or low)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            self.refuse(column, f"{low:g} to {high:g}")
        return number

    def elapsed(self, period_column: str, clock_column: str) -> float:
        """Return the game seconds since tip-off, from the period and its time left, such as 11:43 or PT11M43.00S."""
        period, text = self.whole(period_column, 1, MAX_PERIOD), self.required(clock_column)
        if self.problems:
            return 0.0
        match = _CLOCK.fullmatch(text)
        clock = 60.0 * int(match[1] or 0) + float(match[2]) if match else clock_seconds(text)
        if clock is None or clock > period_seconds(period):
            self.refuse(clock_column, f"the time left in period {period}, such as 4:30 or 27.5")
            return 0.0
        return round(elapsed_seconds(period, clock), 2)

    def date(self, column: str) -> date | None:
        """Return a required date."""
        if self.required(column):
            try:
                return day_of(self.values[column])
            except ValueError:
                self.refuse(column, EXPECTED_DAY)
        return None


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Data of a row.

    Attributes:
        game: id of the game in the source.
        score: the score from the time of the row on; None if the row has none.
        home, away: NBA codes; empty if the row has none.
        unknown: a team that is not of the NBA; empty if there is none.
        phase: RS, PI or PO; empty if the game is none of these.
        day: local date; None if the row has none.
        number: place of the row in the order of entry; None if that is the order of the file.
        event: the row as an event; None if its clock is missing.
    """

    game: str
    score: Score | None = None
    home: str = ""
    away: str = ""
    unknown: str = ""
    phase: str = ""
    day: date | None = None
    number: int | None = None
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """Format of a source.

    Attributes:
        required, optional: names of the columns that are read.
        read: reads a row; adds invalid values to its problems.
        dated: whether rows have dates.
        nba_ids: whether ids are the NBA's.
        skipped_files: prefixes of other files in the same folder.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    read: Callable[[SourceRow], SourceEvent]
    dated: bool
    nba_ids: bool
    skipped_files: tuple[str, ...] = ()


def _hoopr(row: SourceRow) -> SourceEvent:
    game = row.required("game_id").removesuffix(".0")
    season_type = row.whole("season_type", 1, 9)
    home, away = (_espn_team(row, side) for side in ("home", "away"))
    score = _score(row, "period_number", "clock_display_value", "home_score", "away_score")
    unknown = next((row.text(f"{side}_team_abbrev") for side, code in (("home", home), ("away", away)) if not code), "")
    phase, day = _ESPN_PHASES.get(season_type, ""), row.date("game_date")
    if row.problems:
        return SourceEvent(game)
    event = espn_event(row.values, int(float(row.text("period_number"))), score.elapsed)
    return SourceEvent(game, score, home, away, unknown, phase, day=day, event=event)


def _espn_team(row: SourceRow, side: str) -> str:
    column, text = f"{side}_team_abbrev", row.required(f"{side}_team_abbrev")
    number = whole(row.text(f"{side}_team_id"))
    by_number, by_code = ESPN_TEAMS.get(number), _code(text)
    if by_number and by_code and by_number != by_code:
        row.problems.append((column, f"{column} is {text!r}, but {side}_team_id is {number}, {by_number}"))
    return by_number or by_code


def _pbpstats(row: SourceRow) -> SourceEvent:
    game = _nba_game(row, "GAME_ID")
    score = None
    if text := row.text("SCORE"):
        elapsed, match = row.elapsed("PERIOD", "PCTIMESTRING"), _SCORE.fullmatch(text)
        if match is None:
            row.refuse("SCORE", "away and home points such as 12 - 10")
        elif not row.problems:
            score = Score(elapsed, int(match[2]), int(match[1]))
    team = _nba_team(row, "PLAYER1_TEAM_ID", "PLAYER1_TEAM_ABBREVIATION")
    person = row.text("PERSON1TYPE").removesuffix(".0")  # 4: player of the home team; 5: of the away team
    event = _event(row, v2_event, "PERIOD", "PCTIMESTRING", 0)
    return SourceEvent(game, score, *_sides(team, person == "4", person == "5"), phase=_phase(game), event=event)


def _nba_api(row: SourceRow) -> SourceEvent:
    game = _nba_game(row, "gameId")
    # Starts of periods have wrong scores in some games.
    starts = (row.text("actionType"), row.text("subType")) == ("period", "start")
    tells = bool(row.text("scoreHome") or row.text("scoreAway")) and not starts
    score = _score(row, "period", "clock", "scoreHome", "scoreAway") if tells else None
    team, location = _nba_team(row, "teamId", "teamTricode"), row.text("location")
    number = whole(row.text("actionId") or row.text("orderNumber"))
    read = live_event if row.text("orderNumber") else v3_event
    return SourceEvent(
        game,
        score,
        *_sides(team, location == "h", location == "v"),
        phase=_phase(game),
        number=number if number >= 0 else None,
        event=_event(row, read, "period", "clock", number),
    )


_ReadEvent = Callable[[Mapping[Any, Any], int, float, int], Event]


def _event(row: SourceRow, read: _ReadEvent, period: str, clock: str, number: int) -> Event | None:
    """Return a row as an event; None if its period or clock is missing or invalid, without a problem."""
    timed = SourceRow(row.values)
    elapsed = timed.elapsed(period, clock)
    if timed.problems:
        return None
    return read(row.values, timed.whole(period, 1, MAX_PERIOD), elapsed, max(0, number))


def _nba_game(row: SourceRow, column: str) -> str:
    if not (text := row.required(column)):
        return ""
    try:
        return nba_id(text)
    except ValueError:
        row.refuse(column, "the NBA's id, ten digits")
        return ""


def _phase(game: str) -> str:
    return COMPETITIVE.get(game[:3], "")


def _sides(team: str, at_home: bool, away: bool) -> tuple[str, str]:
    return (team if at_home else ""), (team if away else "")


def _nba_team(row: SourceRow, number_column: str, code_column: str) -> str:
    """Return the team of a row by its number, which a club keeps if it moves, or by its code; empty if it has none."""
    return CODES.get(whole(row.text(number_column))) or _code(row.text(code_column))


def _code(text: str) -> str:
    try:
        return team_code(text)
    except ValueError:
        return ""


def _score(row: SourceRow, period: str, clock: str, home: str, away: str) -> Score:
    elapsed = row.elapsed(period, clock)
    return Score(elapsed, row.whole(home, 0, MAX_SCORE), row.whole(away, 0, MAX_SCORE))


FORMATS: Final = {
    Source.HOOPR: SourceFormat(
        required=(
            *("game_id", "game_date", "season_type", "period_number", "clock_display_value"),
            *("home_score", "away_score", "home_team_abbrev", "away_team_abbrev"),
        ),
        optional=("home_team_id", "away_team_id", "sequence_number", "type_text", "text", "team_id", "scoring_play"),
        read=_hoopr,
        dated=True,
        nba_ids=False,
    ),
    Source.PBPSTATS: SourceFormat(
        required=("GAME_ID", "PERIOD", "PCTIMESTRING", "SCORE", "PERSON1TYPE", "PLAYER1_TEAM_ABBREVIATION"),
        optional=(
            *("PLAYER1_TEAM_ID", "EVENTMSGTYPE", "EVENTMSGACTIONTYPE", "HOMEDESCRIPTION", "VISITORDESCRIPTION"),
            *("PLAYER1_ID", "PLAYER2_ID", "PLAYER3_ID", "PLAYER3_TEAM_ID"),
        ),
        read=_pbpstats,
        dated=False,
        nba_ids=True,
        skipped_files=("data_", "live_", "raw_"),
    ),
    Source.NBA_API: SourceFormat(
        required=("gameId", "period", "clock", "scoreHome", "scoreAway"),
        optional=(
            *("location", "teamId", "teamTricode", "actionType", "subType", "actionId", "orderNumber", "descriptor"),
            *("description", "personId", "assistPersonId", "foulDrawnPersonId", "shotResult", "shotValue"),
            "shotDistance",
        ),
        read=_nba_api,
        dated=False,
        nba_ids=True,
    ),
}
