"""Teams of the NBA: codes, names, aliases of other sources, and the league's numbers."""

from __future__ import annotations

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
"""Other codes for the same teams, including former codes of teams that moved."""


def team_code(code: str) -> str:
    """Returns the NBA code of a team, given its code or a known alias in any case.

    Raises:
        ValueError: if no team has that code.
    """
    upper = code.strip().upper()
    canonical = ALIASES.get(upper, upper)
    if canonical not in TEAMS:
        raise ValueError(f"{code!r} is not a team's code; expected an NBA code such as BOS")
    return canonical


# fmt: off
_BY_NUMBER: Final = (
    "ATL", "BOS", "CLE", "NOP", "CHI", "DAL", "DEN", "GSW", "HOU", "LAC", "LAL", "MIA", "MIL", "MIN", "BKN",
    "NYK", "ORL", "IND", "PHI", "PHX", "POR", "SAC", "SAS", "OKC", "TOR", "UTA", "MEM", "WAS", "DET", "CHA",
)


# fmt: on
TEAM_IDS: Final = {code: 1610612737 + offset for offset, code in enumerate(_BY_NUMBER)}
"""NBA code → the NBA's numeric team id."""
