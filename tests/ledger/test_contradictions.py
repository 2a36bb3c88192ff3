"""Reports that contradict what is recorded of their game are refused, and nothing is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evening_events import FINAL, HALF, Event, reported, said, told
from tests.support.builders.outcomes import outcome
from tests.support.builders.record_book import RecordBook, new_book

from dejavu_ledger import Ledger
from dejavu_ledger.database import store
from dejavu_ledger.errors import InvalidDifferential
from dejavu_ledger.outcomes import MAX_SWING
from dejavu_ledger.records import LateReason
from dejavu_models.errors import InvalidTeam
from dejavu_models.types import Horizon

OF_GAME, TURNED, OTHERS, NAMELESS = ("BKN", "GSW"), ("GSW", "BKN"), ("BOS", "NYK"), ("", "")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


def of(horizon: Horizon, differential: int, teams: tuple[str, str] = NAMELESS) -> Event:
    return reported(differential, horizon, teams=teams)


def named(minute: int, teams: tuple[str, str] = OF_GAME, **more: Any) -> Event:
    return said(minute, home_team=teams[0], away_team=teams[1], **more)


def refused(book: RecordBook, report: Event) -> dict[str, str]:
    """Return descriptions of the refusal of a report by field; it leaves the ledger as it was."""
    newest = book.read(store.newest)
    with pytest.raises((InvalidTeam, InvalidDifferential)) as caught:
        told(book, report)
    assert book.read(store.newest) == newest
    return {str(each.field): each.description for each in (caught.value, *caught.value.others)}


def test_a_half_of_minus_200_beside_a_final_of_200_is_refused_with_both_values(book: RecordBook) -> None:
    told(book, of(HALF, -200))
    expected = "at most 100 points from -200, recorded at the half; correct the wrong one first"
    assert refused(book, of(FINAL, 200)) == {"differential": f"200 at the end; expected {expected}"}


@pytest.mark.parametrize(("first", "second"), [(HALF, FINAL), (FINAL, HALF)])
def test_the_second_half_may_move_the_differential_by_the_bound_and_no_further(
    book: RecordBook, first: Horizon, second: Horizon
) -> None:
    told(book, of(first, -20))
    for differential in (MAX_SWING - 19, -MAX_SWING - 21):
        assert refused(book, of(second, differential))
    told(book, of(second, MAX_SWING - 20), of(second, 9))
    assert refused(book, of(first, MAX_SWING + 10))  # a correction


async def test_of_two_that_report_what_cannot_both_be_at_once_one_is_recorded(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    half = ledger.record_outcome(outcome(-200, horizon=HALF))
    answers = await asyncio.gather(half, other.record_outcome(outcome(200, horizon=FINAL)), return_exceptions=True)
    assert [isinstance(answer, InvalidDifferential) for answer in answers].count(True) == 1
    assert await other.head() == 1
    await other.close()


@pytest.mark.parametrize(
    ("teams", "fields"),
    [
        (TURNED, ("home_team", "away_team")),
        (OTHERS, ("home_team", "away_team")),
        (("BOS", "GSW"), ("home_team",)),
        (("BKN", "NYK"), ("away_team",)),
    ],
)
@pytest.mark.parametrize(
    ("events", "source"),
    [
        ([named(18), named(18, NAMELESS, alpha=0.1)], "forecasts of this game"),
        ([of(HALF, 3, OF_GAME)], "outcome that is recorded at the half"),
        ([of(FINAL, 3, OF_GAME)], "outcome that is recorded at the end"),
    ],
    ids=["forecasts", "half", "end"],
)
def test_teams_that_are_not_those_of_the_game_are_refused_by_name_at_either_horizon(
    book: RecordBook, events: list[Event], source: str, teams: tuple[str, str], fields: tuple[str, ...]
) -> None:
    told(book, *events)
    sides = {"home_team": (teams[0], "BKN"), "away_team": (teams[1], "GSW")}
    for horizon in (HALF, FINAL):
        assert refused(book, of(horizon, 3, teams)) == {
            field: f"{sides[field][0]}; expected {sides[field][1]}, the {field[:4]} team in the {source}"
            for field in fields
        }


def test_a_report_without_teams_or_one_that_only_adds_them_is_taken(book: RecordBook) -> None:
    reports = [of(horizon, *each) for horizon in (HALF, FINAL) for each in ((3,), (3, OF_GAME), (4,))]
    told(book, named(18), *reports)
    assert book.read(store.newest) == 7
    assert book.report("0022500001", FINAL, 4, teams=NAMELESS).home_team == "BKN"


@pytest.mark.parametrize(
    ("events", "late", "teams"),
    [
        # Teams added to an outcome without must be those of the other horizon.
        ([of(HALF, 3, OF_GAME), of(FINAL, 10)], [], OTHERS),
        # Otherwise swapped teams would reverse the sign of all timely forecasts, and the true report would be refused.
        ([named(20), named(40), named(5, TURNED)], [None, None, LateReason.LATER_MINUTE], TURNED),
        # The teams of late forecasts count where there are no others.
        ([named(40, NAMELESS), named(5)], [None, LateReason.LATER_MINUTE], TURNED),
        # Otherwise a recording caller could choose the settled games; a game with several pairs of teams is doubtful.
        ([named(20), named(40), named(41, TURNED)], [None] * 3, OTHERS),
    ],
    ids=["another horizon", "a late forecast", "late forecasts alone", "a forecast of other teams"],
)
def test_the_teams_of_a_report_are_those_that_were_named_in_time(
    book: RecordBook, events: list[Event], late: list[LateReason | None], teams: tuple[str, str]
) -> None:
    assert [each.late for each in told(book, *events)] == late
    assert list(refused(book, of(FINAL, 10, teams))) == ["home_team", "away_team"]
    told(book, of(FINAL, 10, OF_GAME))
