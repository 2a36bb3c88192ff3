"""Generates dejavu_gateway/teams.json: names and colors of the teams, for the page and for shared images.

`make gen` runs it. With --check it only compares: `make check` fails if the file differs.

A team's own two colors are made readable: lighter in the dark theme, darker in the light one, until they contrast with
every ground like text has to (WCAG 2.2, 1.4.3). The home team has its first color. The away team has the first of its
colors, or of two neutral ones, that is far enough from it for usual vision and for protanopia, deuteranopia and
tritanopia (simulated as by Brettel, Viénot and Mollon, 1997), by CIEDE2000.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

from coloraide import Color

from dejavu_feed.teams import TEAMS

FILE = Path(__file__).parent / "dejavu_gateway" / "teams.json"

CONTRAST = 4.5
APART = 15.0
"""Minimum CIEDE2000 between the colors of two teams; 2.3 is a just noticeable difference."""

VISIONS = ("", "protan", "deutan", "tritan")
GROUNDS = {"light": ("#ffffff", "#f5f5f2"), "dark": ("#191c22", "#0f1115", "#26292c")}
"""Theme → grounds on which the page has text: a card, the page; in the dark one also an overlay above white."""

STEPS = {"light": -0.005, "dark": 0.005}
NEUTRAL = {"light": ("#16181d", "#6b6b6b"), "dark": ("#ffffff", "#8e8e8e")}

COLORS = {
    "ATL": ("#e03a3e", "#c1d32f"),
    "BKN": ("#000000", "#777d84"),
    "BOS": ("#007a33", "#ba9653"),
    "CHA": ("#1d1160", "#00788c"),
    "CHI": ("#ce1141", "#000000"),
    "CLE": ("#860038", "#fdbb30"),
    "DAL": ("#00538c", "#b8c4ca"),
    "DEN": ("#0e2240", "#fec524"),
    "DET": ("#c8102e", "#1d42ba"),
    "GSW": ("#1d428a", "#ffc72c"),
    "HOU": ("#ce1141", "#c4ced4"),
    "IND": ("#002d62", "#fdbb30"),
    "LAC": ("#c8102e", "#1d428a"),
    "LAL": ("#552583", "#fdb927"),
    "MEM": ("#5d76a9", "#f5b112"),
    "MIA": ("#98002e", "#f9a01b"),
    "MIL": ("#00471b", "#eee1c6"),
    "MIN": ("#0c2340", "#78be20"),
    "NOP": ("#0c2340", "#c8102e"),
    "NYK": ("#006bb6", "#f58426"),
    "OKC": ("#007ac1", "#ef3b24"),
    "ORL": ("#0077c0", "#c4ced4"),
    "PHI": ("#006bb6", "#ed174c"),
    "PHX": ("#1d1160", "#e56020"),
    "POR": ("#e03a3e", "#000000"),
    "SAC": ("#5a2d81", "#63727a"),
    "SAS": ("#000000", "#c4ced4"),
    "TOR": ("#ce1141", "#000000"),
    "UTA": ("#002b5c", "#f9a01b"),
    "WAS": ("#002b5c", "#e31837"),
}
"""NBA code → the team's first and second color."""


def generated() -> str:
    """Return the content of the file."""
    colors = {theme: {code: [readable(color, theme) for color in COLORS[code]] for code in TEAMS} for theme in GROUNDS}
    return (
        json.dumps(
            {
                "names": {code: team.name for code, team in TEAMS.items()},
                "colors": {theme: {code: " ".join(colors[theme][code]) for code in TEAMS} for theme in GROUNDS},
                "neutral": {theme: " ".join(each) for theme, each in NEUTRAL.items()},
                # By home team: places of the away teams' colors among their own and the neutral ones, by order.
                "away": {
                    theme: {
                        home: "".join(
                            str(place(of_theme[home][0], [*of_theme[away], *NEUTRAL[theme]]) if away != home else 0)
                            for away in TEAMS
                        )
                        for home in TEAMS
                    }
                    for theme, of_theme in colors.items()
                },
            },
            indent=1,
        )
        + "\n"
    )


def readable(text: str, theme: str) -> str:
    """Return a color, lightened or darkened until text in it is readable in a theme."""
    color = Color(text).convert("oklch")
    while True:
        shown = color.convert("srgb").fit("srgb", method="oklch-chroma").to_string(hex=True)
        if contrast(shown, theme) >= CONTRAST:
            return shown
        color["lightness"] += STEPS[theme]


def contrast(color: str, theme: str) -> float:
    """Return the lowest contrast of a color with the grounds of a theme."""
    return min(Color(color).contrast(ground, method="wcag21") for ground in GROUNDS[theme])


def place(home: str, candidates: list[str]) -> int:
    """Return the place of the first color that is far enough from that of the home team.

    Raises:
        StopIteration: if there is none.
    """
    return next(number for number, color in enumerate(candidates) if distance(home, color) >= APART)


def distance(one: str, other: str) -> float:
    """Return the distance of two colors for the kind of vision that tells them apart least."""
    return min(a.delta_e(b, method="2000") for a, b in zip(_seen(one), _seen(other), strict=True))


@cache
def _seen(color: str) -> list[Color]:
    return [Color(color).filter(vision).clip("srgb") if vision else Color(color) for vision in VISIONS]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if FILE.read_text() == generated() else f"{FILE} differs from its source: run make gen")
    FILE.write_text(generated())
