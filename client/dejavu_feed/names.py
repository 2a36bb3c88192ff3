"""One identity for a game and for a team, whatever source it came from."""

from __future__ import annotations

import re
from typing import Final

TEAMS: dict[str, str] = {
    "ATL": "Atlanta Hawks",
    "BKN": "Brooklyn Nets",
    "BOS": "Boston Celtics",
    "CHA": "Charlotte Hornets",
    "CHI": "Chicago Bulls",
    "CLE": "Cleveland Cavaliers",
    "DAL": "Dallas Mavericks",
    "DEN": "Denver Nuggets",
    "DET": "Detroit Pistons",
    "GSW": "Golden State Warriors",
    "HOU": "Houston Rockets",
    "IND": "Indiana Pacers",
    "LAC": "LA Clippers",
    "LAL": "Los Angeles Lakers",
    "MEM": "Memphis Grizzlies",
    "MIA": "Miami Heat",
    "MIL": "Milwaukee Bucks",
    "MIN": "Minnesota Timberwolves",
    "NOP": "New Orleans Pelicans",
    "NYK": "New York Knicks",
    "OKC": "Oklahoma City Thunder",
    "ORL": "Orlando Magic",
    "PHI": "Philadelphia 76ers",
    "PHX": "Phoenix Suns",
    "POR": "Portland Trail Blazers",
    "SAC": "Sacramento Kings",
    "SAS": "San Antonio Spurs",
    "TOR": "Toronto Raptors",
    "UTA": "Utah Jazz",
    "WAS": "Washington Wizards",
}
"""NBA code → name."""

ALIASES: dict[str, str] = {
    # Basketball-Reference
    "BRK": "BKN",
    "CHO": "CHA",
    "CHH": "CHA",
    "PHO": "PHX",
    # ESPN and others
    "GS": "GSW",
    "NO": "NOP",
    "NOR": "NOP",
    "NOH": "NOP",
    "NY": "NYK",
    "SA": "SAS",
    "UTAH": "UTA",
    "WSH": "WAS",
    "NJN": "BKN",
}
"""Other codes for the same teams, those of clubs that moved included."""

REPLAY_PREFIX = "99"
"""Game ids of replays begin with it; the NBA's never do."""

_GAME_ID = re.compile(r"[0-9]{10}", re.ASCII)


def team_code(code: str) -> str:
    """The NBA's code for a team, given that or a known alias, in whatever case.

    Raises:
        ValueError: if no team has that code.
    """
    upper = code.strip().upper()
    known = ALIASES.get(upper, upper)
    if known not in TEAMS:
        raise ValueError(f"{code!r} is not a team's code; expected an NBA code such as BOS")
    return known


def is_game_id(text: str) -> bool:
    """Whether a text has the form of an NBA game id: ten ASCII digits."""
    return _GAME_ID.fullmatch(text) is not None


def is_replay(game_id: str) -> bool:
    """Whether a game id was minted by a replay."""
    return game_id.startswith(REPLAY_PREFIX)


def season_of(game_id: str) -> int | None:
    """The season of an NBA game, as the year in which it ends, from its id (002YY…: YY is the year it begins).

    None for an id that does not tell, such as a replay's.
    """
    if not is_game_id(game_id) or not game_id.startswith("00"):
        return None
    begins = int(game_id[3:5])
    return (1900 if begins >= 46 else 2000) + begins + 1


# fmt: off
_BY_NUMBER: Final = (
    "ATL", "BOS", "CLE", "NOP", "CHI", "DAL", "DEN", "GSW", "HOU", "LAC", "LAL", "MIA", "MIL", "MIN", "BKN",
    "NYK", "ORL", "IND", "PHI", "PHX", "POR", "SAC", "SAS", "OKC", "TOR", "UTA", "MEM", "WAS", "DET", "CHA",
)


# fmt: on
TEAM_IDS: Final = {code: 1610612737 + offset for offset, code in enumerate(_BY_NUMBER)}
"""NBA code → the NBA's number of the team."""
