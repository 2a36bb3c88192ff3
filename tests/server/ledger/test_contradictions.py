"""Reports that contradict what is recorded of their game are refused, and nothing is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import issued, recorded
from tests.support.builders.outcomes import outcome

from dejavu_models.errors import InvalidTeam
from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.errors import InvalidDifferential
from dejavu_server.ledger.outcomes import MAX_SWING
from dejavu_server.records import LateReason

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


async def report(ledger: Ledger, differential: int, horizon: Horizon = FINAL, home: str = "", away: str = "") -> None:
    await ledger.record_outcome(outcome(differential, horizon=horizon, home_team=home, away_team=away))


async def refused(ledger: Ledger, *args: Any) -> list[tuple[str, str]]:
    """Return fields and descriptions of the refusal of a report, which leaves the ledger as it was."""
    head = await ledger.head()
    with pytest.raises((InvalidTeam, InvalidDifferential)) as caught:
        await report(ledger, *args)
    assert await ledger.head() == head
    return [(each.field, each.description) for each in (caught.value, *caught.value.others)]


async def test_a_half_of_minus_200_beside_a_final_of_200_is_refused_with_both_values(ledger: Ledger) -> None:
    await report(ledger, -200, HALF)
    expected = "at most 100 points from -200, recorded at the half; correct the wrong one first"
    assert await refused(ledger, 200, FINAL) == [("differential", f"200 at the end; expected {expected}")]


@pytest.mark.parametrize(("first", "second"), [(HALF, FINAL), (FINAL, HALF)])
async def test_the_second_half_may_move_the_differential_by_the_bound_and_no_further(
    ledger: Ledger, first: Horizon, second: Horizon
) -> None:
    await report(ledger, -20, first)
    for differential in (MAX_SWING - 19, -MAX_SWING - 21):
        await refused(ledger, differential, second)
    for differential in (MAX_SWING - 20, 9):
        await report(ledger, differential, second)
    await refused(ledger, MAX_SWING + 10, first)  # a correction


async def test_of_two_that_report_what_cannot_both_be_at_once_one_is_recorded(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    answers = await asyncio.gather(report(ledger, -200, HALF), report(other, 200, FINAL), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["InvalidDifferential", "NoneType"]
    assert await other.head() == 1
    await other.close()


TEAMS = [
    ("GSW", "BKN", [("home_team", "GSW", "BKN"), ("away_team", "BKN", "GSW")]),
    ("BOS", "NYK", [("home_team", "BOS", "BKN"), ("away_team", "NYK", "GSW")]),
    ("BOS", "GSW", [("home_team", "BOS", "BKN")]),
    ("BKN", "NYK", [("away_team", "NYK", "GSW")]),
]
"""Teams reported of BKN against GSW → fields, found and expected team."""


SOURCES = {
    "forecasts": "forecasts of this game",
    "half": "outcome that is recorded at the half",
    "end": "outcome that is recorded at the end",
}
"""The entry that first named the teams of a game, and its name in a refusal."""


@pytest.mark.parametrize(("home", "away", "wrong"), TEAMS)
@pytest.mark.parametrize("source", SOURCES)
async def test_teams_that_are_not_those_of_the_game_are_refused_by_name_at_either_horizon(
    ledger: Ledger, source: str, home: str, away: str, wrong: list[tuple[str, str, str]]
) -> None:
    if source == "forecasts":
        await ledger.commit([issued(home_team="BKN", away_team="GSW")])
        await ledger.commit([issued(alpha=0.1, home_team="", away_team="")])
    else:
        await report(ledger, 3, HALF if source == "half" else FINAL, "BKN", "GSW")
    for horizon in (HALF, FINAL):
        assert await refused(ledger, 3, horizon, home, away) == [
            (field, f"{found}; expected {expected}, the {field[:4]} team in the {SOURCES[source]}")
            for field, found, expected in wrong
        ]


async def test_a_report_without_teams_or_one_that_only_adds_them_is_taken(ledger: Ledger) -> None:
    await ledger.commit([issued(home_team="BKN", away_team="GSW")])
    for horizon in (HALF, FINAL):
        await report(ledger, 3, horizon)
        await report(ledger, 3, horizon, "BKN", "GSW")
        await report(ledger, 4, horizon)
    assert await ledger.head() == 7
    [*_, stored] = await ledger.read_after(0, 10)
    assert stored.home_team == "BKN"


async def test_teams_added_to_an_outcome_without_must_be_those_of_the_other_horizon(ledger: Ledger) -> None:
    await report(ledger, 3, HALF, "BKN", "GSW")
    await report(ledger, 5, FINAL)
    await refused(ledger, 5, FINAL, "BOS", "NYK")
    await report(ledger, 5, FINAL, "BKN", "GSW")


async def test_a_late_forecast_does_not_turn_the_teams_of_a_game(ledger: Ledger) -> None:
    """Otherwise swapped teams would reverse the sign of all timely forecasts, and the true report would be refused."""
    made = [
        issued(pattern=(1.0,) * minute, horizon=FINAL, home_team=home, away_team=away)
        for minute, home, away in ((20, "BKN", "GSW"), (40, "BKN", "GSW"), (5, "GSW", "BKN"))
    ]
    stored = await recorded(ledger, *made)
    assert [each.late for each in stored] == [None, None, LateReason.LATER_MINUTE]
    assert [field for field, _ in await refused(ledger, 10, FINAL, "GSW", "BKN")] == ["home_team", "away_team"]
    await report(ledger, 10, FINAL, "BKN", "GSW")


async def test_the_teams_of_late_forecasts_count_where_there_are_no_others(ledger: Ledger) -> None:
    [first, second] = await recorded(
        ledger,
        issued(pattern=(1.0,) * 40, horizon=FINAL, home_team="", away_team=""),
        issued(pattern=(1.0,) * 5, horizon=FINAL, home_team="BKN", away_team="GSW"),
    )
    assert (first.late, second.late) == (None, LateReason.LATER_MINUTE)
    assert [field for field, _ in await refused(ledger, 10, FINAL, "GSW", "BKN")] == ["home_team", "away_team"]


async def test_a_forecast_with_other_teams_does_not_keep_the_outcome_from_being_reported(ledger: Ledger) -> None:
    """Otherwise a recording caller could choose the settled games; a game with several pairs of teams is doubtful."""
    made = [
        issued(pattern=(1.0,) * minute, horizon=FINAL, home_team=home, away_team=away)
        for minute, home, away in ((20, "BKN", "GSW"), (40, "BKN", "GSW"), (41, "GSW", "BKN"))
    ]
    assert [each.late for each in await recorded(ledger, *made)] == [None] * 3
    assert [field for field, _ in await refused(ledger, 10, FINAL, "BOS", "NYK")] == ["home_team", "away_team"]
    await report(ledger, 10, FINAL, "BKN", "GSW")
