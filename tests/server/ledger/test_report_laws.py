"""Outcomes reported in any order, any number of times: the last report of each that fits its game is stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import outcome
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import empty_ledger

from dejavu_models.errors import InvalidTeam
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.queries import pages
from dejavu_server.records import ReportedOutcome

TEAMS = (("", ""), ("BKN", "GSW"), ("BOS", "NYK"))
"""None, those of the forecasts, and others."""

reports = st.builds(
    lambda number, differential, teams: outcome(differential, game(number), home_team=teams[0], away_team=teams[1]),
    st.integers(1, 3),
    st.integers(-1, 1),
    st.sampled_from(TEAMS),
)


@settings(deadline=None, max_examples=examples(10))
@given(st.lists(reports, max_size=25))
def test_the_last_report_stands_and_settles_and_only_another_one_is_a_revision(told: list[ReportedOutcome]) -> None:
    with empty_ledger() as url:
        asyncio.run(_report(url, told))


async def _report(url: str, told: list[ReportedOutcome]) -> None:
    ledger = await Ledger.open(url)
    await ledger.commit([issued(game(number), point=float(number)) for number in (1, 2, 3)])
    standing: dict[str, ReportedOutcome] = {}
    for each in told:
        expected = each
        if (before := standing.get(each.game_id)) is not None:
            if not each.home_team:
                expected = replace(expected, home_team=before.home_team, away_team=before.away_team)
            same = (expected.differential, expected.home_team) == (before.differential, before.home_team)
            expected = before if same else replace(expected, revision=before.revision + 1)
        head = await ledger.head()
        if each.home_team == "BOS":
            with pytest.raises(InvalidTeam):
                await ledger.record_outcome(each)
            assert await ledger.head() == head
            continue
        stored, settled = await ledger.record_outcome(each)
        assert settled == 1
        if expected is not before:
            expected = replace(expected, sequence=head + 1, recorded_time=stored.recorded_time)
        assert stored == expected
        standing[each.game_id] = stored
    listed = partial(pages.page, filter_=pages.ForecastFilter(settled=True), token="", size=50)
    found = await ledger.read(listed)
    assert {each.issued.game_id: each.outcome for each in found.forecasts} == standing
    outcomes = [entry for entry in await ledger.read_after(3, 100) if isinstance(entry, ReportedOutcome)]
    assert len(outcomes) == sum(each.revision + 1 for each in standing.values())
    await ledger.close()
