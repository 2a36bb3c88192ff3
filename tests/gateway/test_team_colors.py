"""Colors of teams: readable on every ground, and home and away told apart by every kind of color vision."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from coloraide import Color
from tests.support.processes.browser import ROOT

from dejavu_feed.teams import TEAMS
from dejavu_gateway.api.share import UNKNOWN_COLORS, team_colors

TABLE = json.loads((ROOT / "gateway/dejavu_gateway/teams.json").read_text())
GROUNDS = {"light": ("#ffffff", "#f5f5f2"), "dark": ("#191c22", "#0f1115", "#26292c")}
"""Cards, page, and the box of an overlay (#0f1115e6) above white."""
VISIONS = ("", "protan", "deutan", "tritan")


def pair(theme: str, home: str, away: str) -> tuple[str, str]:
    """Return the colors of a pair, as the page reads them from the table."""
    colors, place = TABLE["colors"][theme], int(TABLE["away"][theme][home][list(TABLE["names"]).index(away)])
    return colors[home].split()[0], [*colors[away].split(), *TABLE["neutral"][theme].split()][place]


def seen(color: str, vision: str) -> Color:
    return Color(color).filter(vision).clip("srgb") if vision else Color(color)


def test_every_team_has_its_name_in_the_order_of_the_colors() -> None:
    assert TABLE["names"] == {code: team.name for code, team in TEAMS.items()}
    for theme in GROUNDS:
        assert list(TABLE["colors"][theme]) == list(TABLE["away"][theme]) == list(TEAMS)


@pytest.mark.parametrize("theme", GROUNDS)
def test_colors_of_teams_can_be_read_as_text(theme: str) -> None:
    grounds = [Color(each) for each in GROUNDS[theme]]
    used = {color for both in permutations(TEAMS, 2) for color in pair(theme, *both)}
    assert len(used) > 30
    low = [
        (color, ground.to_string(hex=True))
        for color in used
        for ground in grounds
        if Color(color).contrast(ground) < 4.5
    ]
    assert not low


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", GROUNDS)
def test_home_and_away_are_told_apart(theme: str, vision: str) -> None:
    """CIEDE2000 of 15 is six and a half just noticeable differences."""
    pairs = {both: pair(theme, *both) for both in permutations(TEAMS, 2)}
    assert len(pairs) == 870
    distance = {each: seen(each[0], vision).delta_e(seen(each[1], vision), method="2000") for each in {*pairs.values()}}
    assert {both: colors for both, colors in pairs.items() if distance[colors] < 15} == {}


def test_a_shared_image_has_the_colors_of_the_page() -> None:
    assert team_colors("BOS", "LAL") == pair("light", "BOS", "LAL")
    assert team_colors("LAL", "BOS") == pair("light", "LAL", "BOS")
    for unknown in (("BOS", "BOS"), ("", "LAL"), ("BOS", "home")):
        assert team_colors(*unknown) == UNKNOWN_COLORS
