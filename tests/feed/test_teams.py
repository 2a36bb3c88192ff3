"""Names by which a team is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.teams import TEAMS, also_called, team_code


@given(st.sampled_from(sorted(TEAMS)), st.sampled_from([str.upper, str.lower, str.title]))
def test_a_team_is_known_by_code_name_and_both_together(code: str, case: type[str]) -> None:
    team = TEAMS[code]
    for name in (code, team.name, f"{team.city} {team.name}", f"  {team.city}   {team.name} ", *also_called(code)):
        assert team_code(case(name)) == code


@pytest.mark.parametrize("city", ["LA", "Los Angeles"])
def test_a_city_with_two_teams_names_none(city: str) -> None:
    with pytest.raises(ValueError, match=f"'{city}' is the city of two teams; expected LAC or LAL"):
        team_code(city)


COMMON = {
    "Sixers": "PHI",
    "T-Wolves": "MIN",
    "L.A. Lakers": "LAL",
    "Golden State": "GSW",
    "NY": "NYK",
    "PHO": "PHX",
    "Seattle SuperSonics": "OKC",
    "New Orleans Hornets": "NOP",
    "Hornets": "CHA",
}


@pytest.mark.parametrize(("name", "code"), COMMON.items())
def test_common_aliases_name_their_team(name: str, code: str) -> None:
    assert team_code(name) == code


@pytest.mark.parametrize("code", ["EST", "West", "LBN", "GNS"])
def test_an_all_star_team_is_no_club(code: str) -> None:
    with pytest.raises(ValueError, match=f"'{code}' is no club of the NBA but an All-Star team"):
        team_code(code)


@pytest.mark.parametrize(("typed", "meant"), [("Bosten", r"BOS \(Celtics\)"), ("Laker", r"LAL \(Lakers\)")])
def test_a_typing_error_gets_the_team_that_may_be_meant(typed: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"'{typed}' is not a team; did you mean {meant}?"):
        team_code(typed)
