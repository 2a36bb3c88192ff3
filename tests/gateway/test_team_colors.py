"""Colors of teams: home and away are told apart by every kind of color vision."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from coloraide import Color
from tests.support.processes.browser import ROOT

from dejavu_feed.teams import TEAMS

TABLE = json.loads((ROOT / "gateway/dejavu_gateway/teams.json").read_text())
VISIONS = ("", "protan", "deutan", "tritan")


def pair(theme: str, home: str, away: str) -> tuple[str, str]:
    """Return the colors of a pair, as the page reads them from the table."""
    colors, place = TABLE["colors"][theme], int(TABLE["away"][theme][home][list(TABLE["names"]).index(away)])
    return colors[home].split()[0], [*colors[away].split(), *TABLE["neutral"][theme].split()][place]


def seen(color: str, vision: str) -> Color:
    return Color(color).filter(vision).clip("srgb") if vision else Color(color)


def test_every_team_has_its_name_in_the_order_of_the_colors() -> None:
    assert TABLE["names"] == {code: team.name for code, team in TEAMS.items()}
    for theme in ("light", "dark"):
        assert list(TABLE["colors"][theme]) == list(TABLE["away"][theme]) == list(TEAMS)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_home_and_away_are_told_apart(theme: str, vision: str) -> None:
    """CIEDE2000 of 15 is six and a half just noticeable differences."""
    pairs = {both: pair(theme, *both) for both in permutations(TEAMS, 2)}
    assert len(pairs) == 870
    distance = {each: seen(each[0], vision).delta_e(seen(each[1], vision), method="2000") for each in {*pairs.values()}}
    assert {both: colors for both, colors in pairs.items() if distance[colors] < 15} == {}
