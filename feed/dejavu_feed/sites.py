"""Where games are played: cities at high altitude, and neutral sites, at which no team is at home."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

BUBBLE: Final = (date(2020, 7, 30), date(2020, 10, 11))
"""First and last day of the part of the season 2019–20 that was played entirely near Orlando."""

HIGH_CITIES: Final = {"DEN": 1609, "UTA": 1288}
"""NBA code → altitude of the home cities with noticeably thinner air, in metres; all others lie below 400."""

_PLACES: Final = {
    "London": "2014-01-16 ATL BKN, 2015-01-15 MIL NYK, 2016-01-14 ORL TOR, 2017-01-12 DEN IND, 2018-01-11 BOS PHI, "
    "2019-01-17 NYK WAS",
    "Mexico City": "2014-11-12 HOU MIN, 2015-12-03 BOS SAC, 2017-01-12 DAL PHX, 2017-01-14 PHX SAS, "
    "2017-12-07 BKN OKC, 2017-12-09 BKN MIA, 2018-12-13 CHI ORL, 2018-12-15 ORL UTA, 2019-12-12 DAL DET, "
    "2019-12-14 PHX SAS, 2022-12-17 MIA SAS, 2023-11-09 ATL ORL, 2024-11-02 MIA WAS",
    "Paris": "2020-01-24 CHA MIL, 2023-01-19 CHI DET, 2024-01-11 BKN CLE, 2025-01-23 IND SAS, 2025-01-25 IND SAS",
    "Las Vegas": "2023-12-07 IND MIL, 2023-12-07 LAL NOP, 2023-12-09 IND LAL, 2024-12-14 ATL MIL, 2024-12-14 HOU OKC, "
    "2024-12-17 MIL OKC",
}
"""Place → games of the seasons 2013–14 to 2024–25: local date, and both teams in alphabetical order."""


def _listed() -> Iterator[tuple[date, frozenset[str]]]:
    for games in _PLACES.values():
        for game in games.split(", "):
            day, *teams = game.split()
            yield date.fromisoformat(day), frozenset(teams)


_GAMES: Final = frozenset(_listed())


def is_neutral(home: str, away: str, day: date | None, given: bool | None = None) -> bool:
    """Return whether a game is at a neutral site.

    Args:
        home: NBA code of the nominal home team.
        away: NBA code of the away team; listed games also match the other way round.
        day: local date of the game; None if it is not known.
        given: whether it is at a neutral site according to another source; None: only the list here decides, which has
            no games before 2013 or after 2025.
    """
    if given is not None:
        return given
    return day is not None and (BUBBLE[0] <= day <= BUBBLE[1] or (day, frozenset((home, away))) in _GAMES)
