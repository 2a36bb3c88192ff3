"""Colors of the teams of a game on a light ground, from the table that the page has too (teams.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

UNKNOWN: Final = ("#1f5fa8", "#b0440a")
"""Colors where a team is not known: those of the page (tokens.css)."""

_TABLE: Final = json.loads(Path(__file__).with_name("teams.json").read_text())


def team_colors(home: str, away: str) -> tuple[str, str]:
    """Return the colors of the home and the away team, told apart by every kind of color vision.

    Args:
        home: NBA code of the home team.
        away: that of the away team.
    """
    colors: dict[str, str] = _TABLE["colors"]["light"]
    if home == away or home not in colors or away not in colors:
        return UNKNOWN
    place = int(_TABLE["away"]["light"][home][list(colors).index(away)])
    return colors[home].split()[0], [*colors[away].split(), *_TABLE["neutral"]["light"].split()][place]
