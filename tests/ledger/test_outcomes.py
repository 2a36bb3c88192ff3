"""Outcomes: recorded once, corrected by revisions, withdrawn, and never against the record of their game."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.box_scores import made_box_score
from tests.support.builders.issued_forecasts import issued, recorded
from tests.support.builders.outcomes import MARKET, answered, asked
from tests.support.builders.record_book import (
    EVENING,
    FINAL,
    GAME,
    HALF,
    OTHER,
    Event,
    RecordBook,
    answers,
    reported,
    said,
    withdrawn,
)

from dejavu_ledger import Ledger, LedgerCorrupt, verify
from dejavu_ledger.database import sql, store
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import GameFull
from dejavu_ledger.outcomes import MAX_REVISIONS, MAX_SWING
from dejavu_ledger.records import LateReason, MarketRecording, ReportedOutcome, SentMarket
from dejavu_models.betting import MarketSide
from dejavu_models.types import Horizon

BKN_GSW, TURNED, OTHERS, NAMELESS = ("BKN", "GSW"), ("GSW", "BKN"), ("BOS", "NYK"), ("", "")
FIRST_TIME, SECOND_TIME = (EVENING + timedelta(days=day) for day in (1, 2))
BOX, OTHER_BOX = (tuple(each.line for each in made_box_score("BKN", "GSW", 3, seed)) for seed in (6, 7))

REPORTS: dict[str, tuple[list[tuple[dict[str, Any] | None, int]], dict[str, Any]]] = {
    "a repeated report": ([({}, 0), ({}, 0)], {"differential": 3}),
    "another differential, also corrected back": ([({}, 0), ({"differential": 4}, 1), ({}, 2)], {"differential": 3}),
    "teams left out, and added": ([({"teams": NAMELESS}, 0), ({}, 1), ({"teams": NAMELESS}, 1)], {"home_team": "BKN"}),
    "a total left out, added and corrected":
        ([({}, 0), ({"total_points": 201}, 1), ({}, 1), ({"total_points": 203}, 2)], {"total_points": 203}),
    "overtimes alone": ([({"overtimes": 2}, 0), ({}, 0), ({"overtimes": 1}, 0)], {"overtimes": 2}),
    "the same differential keeps the rest":
        ([({"overtimes": 2, "players": BOX}, 0), ({"total_points": 221}, 1)], {"overtimes": 2, "players": BOX}),
    "added teams keep the box score": ([({"teams": NAMELESS, "players": BOX}, 0), ({}, 1)], {"players": BOX}),
    "another differential keeps nothing":
        ([({"overtimes": 2, "players": BOX, "total_points": 221}, 0), ({"differential": 5}, 1)],
         {"overtimes": None, "players": (), "total_points": None}),
    "box scores left out, added and corrected":
        ([({}, 0), ({"players": BOX}, 1), ({}, 1), ({"players": OTHER_BOX}, 2)], {"players": OTHER_BOX}),
    "another time alone": ([({"seen": FIRST_TIME}, 0), ({"seen": SECOND_TIME}, 0)], {"observed_time": FIRST_TIME}),
    "another time after a withdrawal":
        ([({"seen": FIRST_TIME}, 0), (None, 1), ({"seen": SECOND_TIME}, 2)], {"observed_time": SECOND_TIME}),
    "a withdrawal, also repeated": ([({}, 0), (None, 1), (None, 1)], {"withdrawn": True, "differential": 3}),
}  # fmt: skip
"""Reports of an outcome, None for its withdrawal, each with the revision that answers it → the last answer."""


@pytest.mark.parametrize(("reports", "last"), REPORTS.values(), ids=REPORTS)
def test_only_what_a_report_changes_is_a_revision(
    book: RecordBook, tmp_path: Path, reports: list[tuple[dict[str, Any] | None, int]], last: dict[str, Any]
) -> None:
    found = [
        book.withdraw(GAME, FINAL) if given is None else book.report(GAME, FINAL, **{"differential": 3, **given})
        for given, _ in reports
    ]
    stored = list[ReportedOutcome]()
    for answer, (_, revision) in zip(found, reports, strict=True):
        assert (answer.revision, answer.sequence, answer.created) == (revision, revision + 1, revision == len(stored))
        stored += [answer] * answer.created
    assert {name: getattr(found[-1], name) for name in last} == last
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").outcomes == len(stored)


def of(horizon: Horizon, differential: int, teams: tuple[str, str] = NAMELESS, **more: Any) -> Event:
    return reported(differential, horizon, teams=teams, **more)


def added(differential: int, **more: Any) -> Event:
    """Return a report that asks not to correct what stands."""
    return reported(differential, HALF, correct=False, **more)


def named(minute: int, teams: tuple[str, str] = BKN_GSW, **more: Any) -> Event:
    return said(minute, home_team=teams[0], away_team=teams[1], **more)


LATER = LateReason.LATER_SECOND
NAMES = (
    r"home_team: BOS; expected BKN, the home team in the {0}.*away_team: NYK; expected GSW, the away team in the {0}"
)

REFUSED: dict[str, tuple[list[Event], list[object]]] = {
    "a half of -200 beside a final of 200":
        ([of(HALF, -200), of(FINAL, 200)],
         ["differential: 200 at the end; expected at most 100 points from -200, recorded at the half; correct the"]),
    **{f"a swing beyond the bound, {first.value} first":
        ([of(first, -20), of(second, MAX_SWING - 19), of(second, -MAX_SWING - 21), of(second, MAX_SWING - 20),
          of(second, 9), of(first, MAX_SWING + 10)], ["^InvalidDiff", "^InvalidDiff", "^InvalidDiff"])
       for first, second in [(HALF, FINAL), (FINAL, HALF)]},
    "fewer points at the end than at the half":
        ([of(HALF, 4, total_points=110), of(FINAL, 3, total_points=101), of(FINAL, 3, total_points=201)],
         ["total_points: 101 at the end; expected points that fit 110, recorded at the half"]),
    "what is withdrawn contradicts nothing":
        ([of(HALF, 90, BKN_GSW), of(FINAL, -20), of(FINAL, 80, OTHERS), withdrawn(HALF), of(FINAL, -20, OTHERS)],
         ["^InvalidDifferential", "^InvalidTeam"]),
    **{f"teams that are not those of the {source}":
        ([event, *(of(horizon, 3, OTHERS) for horizon in Horizon), of(HALF, 3, TURNED), of(HALF, 3, ("BOS", "GSW")),
          of(HALF, 3, ("BKN", "NYK")), *(of(horizon, 4, BKN_GSW) for horizon in Horizon)],
         [*made, *[NAMES.format(source)] * 2, "home_team: GSW", "home_team: BOS(?!.*away_team)",
          "^InvalidTeam: away_team: NYK"])
       for event, source, made in [
           (named(18), "forecasts of this game", [None]),
           (of(HALF, 3, BKN_GSW), "outcome that is recorded at the half", []),
           (of(FINAL, 3, BKN_GSW), "outcome that is recorded at the end", []),
       ]},
    "teams added to an outcome without that are not those of the other horizon":
        ([of(HALF, 3, BKN_GSW), of(FINAL, 10), of(FINAL, 10, OTHERS)], ["^InvalidTeam"]),
    # Otherwise swapped teams would reverse the sign of all timely forecasts, and the true report would be refused.
    "the teams of a late forecast":
        ([named(20), named(40), named(5, TURNED), of(FINAL, 10, TURNED), of(FINAL, 10, BKN_GSW)],
         [None, None, LATER, "^InvalidTeam"]),
    "other teams than those of late forecasts, if there are no others":
        ([named(40, NAMELESS), named(5), of(FINAL, 10, TURNED), of(FINAL, 10, BKN_GSW)], [None, LATER, "^InvalidTeam"]),
    # Otherwise a recording caller could choose the settled games; a game with several pairs of teams is doubtful.
    "teams that no forecast has, of several":
        ([named(20), named(41, TURNED), of(FINAL, 10, OTHERS), of(FINAL, 10, BKN_GSW)], [None, None, "^InvalidTeam"]),
    "a correction by one who asks not to correct":
        ([added(3), added(4)],
         [r"another outcome stands at the half: BKN against GSW: \+3, revision 0, recorded .* UTC; .* GSW: \+4$"]),
    # Ratings learn from a final only if the teams are known: a report that adds them has to get through.
    "nothing that only adds":
        ([added(3, teams=NAMELESS), added(4), added(3), added(3, total_points=101), added(3, total_points=99),
          added(3, players=BOX), added(3, players=OTHER_BOX)],
         [r"home team \+3, revision 0, .*; this report has BKN against GSW: \+4$",
          r"\+3, 101 points, .*: \+3, 99 points$", "another box score"]),
    "the withdrawal of what was never reported":
        ([reported(game_id=OTHER), withdrawn(), withdrawn(HALF, OTHER)],
         ["game_id: 0022500001, which has no outcome at the end", "^UnknownOutcome"]),
}  # fmt: skip
"""What is refused → events, and answers of forecasts and of what is refused: patterns of their texts."""


@pytest.mark.parametrize(("events", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_report_against_the_record_of_its_game_is_refused_with_both_values(
    book: RecordBook, events: list[Event], expected: list[object]
) -> None:
    found = answers(book, *events)
    for answer, wanted in zip(found, expected, strict=True):
        assert re.search(wanted, str(answer)) if isinstance(wanted, str) else answer == wanted
    refused = sum(isinstance(each, str) for each in expected)
    assert book.read(store.newest).sequence == len(events) - refused


def test_a_caller_revises_an_outcome_so_often_and_others_can_correct_it_then(book: RecordBook) -> None:
    """Reads of a game walk all revisions of its outcomes: without a limit they took seconds."""
    revise = partial(book.report, GAME, FINAL)
    revisions = [revise(1 + number % 2).revision for number in range(MAX_REVISIONS + 1)]
    assert revisions == list(range(MAX_REVISIONS + 1))
    for _ in range(2):
        with pytest.raises(GameFull, match=f"has {MAX_REVISIONS} revisions"):
            revise(9)
        book.withdraw(GAME, FINAL)
    corrected = revise(9, recorded_by="token:operator")
    assert (corrected.differential, corrected.revision) == (9, MAX_REVISIONS + 2)


async def test_a_market_evaluated_after_the_model_has_learned_is_recorded_and_says_so(ledger: Ledger, url: str) -> None:
    [stored] = await recorded(ledger, issued())
    answer = answered(MarketSide.HOME, stake_fraction=0.1)

    async def sent(learned: int) -> list[SentMarket]:
        updated = replace(stored.forecast, home_lead_probability=0.61, calibration_sequence=learned)
        [again] = await recorded(ledger, asked(replace(issued(), forecast=updated), answer))
        assert replace(again, markets=()) == stored
        return list(again.markets)

    # A worker that still has to learn, or has other settings, weighs no bet on it.
    assert await sent(0) == [SentMarket(MARKET)]
    assert await sent(1) == [SentMarket(MARKET, MarketRecording.RECORDED)]
    text = "SELECT canonical FROM entries ORDER BY sequence DESC"
    market = await ledger.read(lambda connection: sql.value(connection, text))
    assert codec.parse_market(market).calibration_sequence == 1
    with pytest.raises(LedgerCorrupt, match="calibration_sequence is 1; expected an outcome after 0"):
        verify(url)
