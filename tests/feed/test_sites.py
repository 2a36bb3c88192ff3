from __future__ import annotations

from datetime import date

import pytest

from dejavu_feed.sites import HOME_CITIES, host_city, utc_offset
from dejavu_feed.teams import TEAMS


def test_every_team_has_a_city() -> None:
    assert HOME_CITIES.keys() == TEAMS.keys()
    assert sorted(HOME_CITIES, key=lambda code: HOME_CITIES[code].altitude)[-2:] == ["UTA", "DEN"]
    assert all(0 <= city.altitude < 1700 and -8 <= city.utc_offset <= -5 for city in HOME_CITIES.values())


@pytest.mark.parametrize(
    ("day", "from_los_angeles", "to_denver"),
    [
        (date(2022, 11, 5), 0, 1),
        (date(2022, 11, 6), 1, 0),
        (date(2023, 3, 11), 1, 0),
        (date(2023, 3, 12), 0, 1),
        (date(2020, 11, 1), 1, 0),
        (date(2020, 3, 8), 0, 1),
    ],
    ids=str,
)
def test_clocks_in_phoenix_are_those_of_los_angeles_in_summer_and_of_denver_in_winter(
    day: date, from_los_angeles: int, to_denver: int
) -> None:
    phoenix = utc_offset("PHX", day)
    assert (phoenix - utc_offset("LAL", day), utc_offset("DEN", day) - phoenix) == (from_los_angeles, to_denver)


def test_the_season_of_2020_was_finished_in_orlando() -> None:
    assert [host_city("LAL", date(2020, *day)) for day in ((3, 11), (7, 30), (10, 11), (12, 22))] == [
        "LAL",
        "ORL",
        "ORL",
        "LAL",
    ]
