"""Teams of the NBA: codes, numbers, names, the codes of other sources, and how well ratings know a team."""

from __future__ import annotations

import difflib
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple


class Team(NamedTuple):
    """A team: the NBA's numeric id, city and name."""

    number: int
    city: str
    name: str


TEAMS: Final = {
    "ATL": Team(1610612737, "Atlanta", "Hawks"),
    "BKN": Team(1610612751, "Brooklyn", "Nets"),
    "BOS": Team(1610612738, "Boston", "Celtics"),
    "CHA": Team(1610612766, "Charlotte", "Hornets"),
    "CHI": Team(1610612741, "Chicago", "Bulls"),
    "CLE": Team(1610612739, "Cleveland", "Cavaliers"),
    "DAL": Team(1610612742, "Dallas", "Mavericks"),
    "DEN": Team(1610612743, "Denver", "Nuggets"),
    "DET": Team(1610612765, "Detroit", "Pistons"),
    "GSW": Team(1610612744, "Golden State", "Warriors"),
    "HOU": Team(1610612745, "Houston", "Rockets"),
    "IND": Team(1610612754, "Indiana", "Pacers"),
    "LAC": Team(1610612746, "LA", "Clippers"),
    "LAL": Team(1610612747, "Los Angeles", "Lakers"),
    "MEM": Team(1610612763, "Memphis", "Grizzlies"),
    "MIA": Team(1610612748, "Miami", "Heat"),
    "MIL": Team(1610612749, "Milwaukee", "Bucks"),
    "MIN": Team(1610612750, "Minnesota", "Timberwolves"),
    "NOP": Team(1610612740, "New Orleans", "Pelicans"),
    "NYK": Team(1610612752, "New York", "Knicks"),
    "OKC": Team(1610612760, "Oklahoma City", "Thunder"),
    "ORL": Team(1610612753, "Orlando", "Magic"),
    "PHI": Team(1610612755, "Philadelphia", "76ers"),
    "PHX": Team(1610612756, "Phoenix", "Suns"),
    "POR": Team(1610612757, "Portland", "Trail Blazers"),
    "SAC": Team(1610612758, "Sacramento", "Kings"),
    "SAS": Team(1610612759, "San Antonio", "Spurs"),
    "TOR": Team(1610612761, "Toronto", "Raptors"),
    "UTA": Team(1610612762, "Utah", "Jazz"),
    "WAS": Team(1610612764, "Washington", "Wizards"),
}
"""NBA code → team."""

CODES: Final = {team.number: code for code, team in TEAMS.items()}
"""Numeric id → NBA code. A franchise that moved keeps its id."""

ALIASES: Final = {
    # Basketball-Reference
    "BRK": "BKN",
    "CHO": "CHA",
    "PHO": "PHX",
    # ESPN and others
    "GS": "GSW",
    "NO": "NOP",
    "NOR": "NOP",
    "NY": "NYK",
    "SA": "SAS",
    "UTAH": "UTA",
    "WSH": "WAS",
    "NJ": "BKN",
}
"""Other code → NBA code of the same team."""


class FormerTeam(NamedTuple):
    """A former name of a franchise.

    Attributes:
        franchise: NBA code of the franchise today.
        city, name: its city and name then.
        seasons: first and last season, as the years in which they end.
    """

    franchise: str
    city: str
    name: str
    seasons: tuple[int, int]


FORMER_TEAMS: Final = {
    "CHH": FormerTeam("CHA", "Charlotte", "Hornets", (1989, 2002)),
    "CHA": FormerTeam("CHA", "Charlotte", "Bobcats", (2005, 2014)),
    "NJN": FormerTeam("BKN", "New Jersey", "Nets", (1978, 2012)),
    "NOH": FormerTeam("NOP", "New Orleans", "Hornets", (2003, 2013)),
    "NOK": FormerTeam("NOP", "New Orleans/Oklahoma City", "Hornets", (2006, 2007)),
    "SEA": FormerTeam("OKC", "Seattle", "SuperSonics", (1968, 2008)),
    "VAN": FormerTeam("MEM", "Vancouver", "Grizzlies", (1996, 2001)),
    "WSB": FormerTeam("WAS", "Washington", "Bullets", (1975, 1997)),
}
"""Former code → team, for all seasons with plays (from 1996-97 on). The Hornets of 1988 to 2002 are Charlotte's in the
NBA's history, although the franchise plays in New Orleans."""

_ALL_STAR_TEAMS: Final = frozenset(
    {"EST", "WST", "EAST", "WEST", "LBN", "GNS", "STP", "DRT", "SHQ", "CHK", "KEN", "CAN", "USA", "WLD"}
)
"""Codes of teams in the feed that are no club of the NBA."""


NICKNAMES: Final = {
    "Blazers": "POR",
    "Cavs": "CLE",
    "Dubs": "GSW",
    "Grizz": "MEM",
    "LA Lakers": "LAL",
    "Los Angeles Clippers": "LAC",
    "Mavs": "DAL",
    "Nola": "NOP",
    "Pels": "NOP",
    "Philly": "PHI",
    "Sixers": "PHI",
    "T-Wolves": "MIN",
    "Wiz": "WAS",
    "Wolves": "MIN",
}
"""Other names of teams. Hyphens and dots do not count: Twolves, L.A. Clippers."""

_SHARED_CITIES: Final = {"LA": ("LAC", "LAL"), "LOS ANGELES": ("LAC", "LAL")}
"""City in capitals → NBA codes of its teams."""


_LONGEST_SHOWN: Final = 40
"""Maximum number of characters of a name that an error repeats."""

# Uncertainty of strengths in usual seasons: 2016 to 2023, without the two that the pandemic moved (docs/evaluation.md).
DECEMBER_DEVIATION: Final = 2.55
"""Largest standard deviation of a team's strength in games of December, in points. Above it, there is no stake."""
OPENING_DEVIATION: Final = 3.05
"""Largest standard deviation of a team's strength in all games, reached on opening nights, in points. Above it, a
forecast has a warning."""


def _plain(name: str) -> str:
    """Return a name in capitals, without dots, hyphens and superfluous spaces."""
    return " ".join(name.upper().translate(str.maketrans("", "", ".-")).split())


_NAMES: Final = {team.name for team in TEAMS.values()}
_CITIES: Final = {team.city for team in TEAMS.values()}
_RENAMED: Final = [former for former in FORMER_TEAMS.values() if (former.city, former.name) != ("Charlotte", "Hornets")]

_CODES: Final = {
    **{code: code for code in TEAMS},
    **{team.city.upper(): code for code, team in TEAMS.items() if team.city.upper() not in _SHARED_CITIES},
    **{team.name.upper(): code for code, team in TEAMS.items()},
    **{f"{team.city} {team.name}".upper(): code for code, team in TEAMS.items()},
    **{_plain(name): code for name, code in NICKNAMES.items()},
    **ALIASES,
    **{code: former.franchise for code, former in FORMER_TEAMS.items()},
    **{_plain(f"{former.city} {former.name}"): former.franchise for former in _RENAMED},
    **{_plain(former.name): former.franchise for former in _RENAMED if former.name not in _NAMES},
    **{_plain(former.city): former.franchise for former in _RENAMED if former.city not in _CITIES},
}
"""NBA codes by every name of a team, in the form that `_plain` returns."""


@lru_cache(maxsize=1024)  # files of plays name the teams in every row
def team_code(text: str) -> str:
    """Return the NBA code of a team, given its code, city, name or a known alias, of any season and in any case.

    Raises:
        ValueError: if no team has that name, or two teams have it (LA); the message names the candidates.
    """
    plain = _plain(text)
    code = _CODES.get(plain)
    if code is None:
        shown = repr(text[:_LONGEST_SHOWN])
        if plain in _SHARED_CITIES:
            raise ValueError(f"{shown} is the city of two teams; expected {' or '.join(_SHARED_CITIES[plain])}")
        if plain in _ALL_STAR_TEAMS:
            raise ValueError(f"{shown} is no club of the NBA but an All-Star team")
        if close := difflib.get_close_matches(plain, _CODES, n=1):
            name = TEAMS[_CODES[close[0]]].name
            raise ValueError(f"{shown} is not a team; did you mean {_CODES[close[0]]} ({name})?")
        raise ValueError(f"{shown} is not a team; expected an NBA code such as BOS, or a name such as Celtics")
    return code


def also_called(code: str) -> list[str]:
    """Return the aliases of a team other than its code, city and name, without those of earlier seasons."""
    return sorted(alias for alias, of in (ALIASES | NICKNAMES).items() if of == code)


def formerly(code: str) -> dict[str, FormerTeam]:
    """Return the former names of a franchise, by the code of that time."""
    return {former: team for former, team in FORMER_TEAMS.items() if team.franchise == code}


def knowledge_text(team: str, deviation: float, finals: int, earlier: date | None) -> str:
    """Describe how well a team is known: BOS: June 2023 and 2 finals, hardly known.

    Args:
        team: its NBA code.
        deviation: standard deviation of its strength, in points.
        finals: number of its known finals of this season.
        earlier: date up to which its games before these finals are known; None if none are.
    """
    known = f"{finals or 'no'} final{'' if finals == 1 else 's'}"
    since = known if earlier is None else f"{earlier:%B %Y} and {known}"
    how = "well" if deviation <= DECEMBER_DEVIATION else "partly" if deviation <= OPENING_DEVIATION else "hardly"
    return f"{team}: {since}, {how} known"
