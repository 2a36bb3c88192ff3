"""Outcomes in the ledger: recorded once, corrected by revisions, and settling the forecasts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.outcomes import MARKET, answered, asked, outcome
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import empty_ledger

from dejavu_ledger import Ledger, LedgerCorrupt, verify
from dejavu_ledger.database.schema import forecasts
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.settlement import settle
from dejavu_ledger.queries import learning, pages, predictions
from dejavu_ledger.records import (
    IssuedForecast,
    MarketRecording,
    RecordedForecast,
    ReportedOutcome,
    SentMarket,
)
from dejavu_models.betting import MarketSide
from dejavu_models.errors import InvalidTeam
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon

DISTRIBUTION = tuple(round(30 * level - 15, 3) for level in DISTRIBUTION_LEVELS)


def with_distribution(forecast: IssuedForecast) -> IssuedForecast:
    return replace(forecast, forecast=replace(forecast.forecast, distribution=DISTRIBUTION))


async def settled(ledger: Ledger) -> list[RecordedForecast]:
    """Return the forecasts that have an outcome, in order."""

    def read(connection: Connection) -> list[RecordedForecast]:
        sequences = connection.execute(select(forecasts.c.sequence).order_by(forecasts.c.sequence)).scalars().all()
        return predictions.forecasts_at(connection, sequences)

    return [each for each in await ledger.read(read) if each.settlement is not None]


async def test_an_outcome_gets_the_next_place_and_the_time_it_was_taken(ledger: Ledger) -> None:
    await ledger.commit([issued(game(2))])
    before = datetime.now(UTC)
    told = outcome(3, observed_time=before - timedelta(minutes=2))
    stored, count = await ledger.record_outcome(told)
    assert before <= stored.recorded_time <= datetime.now(UTC)
    assert stored == replace(told, sequence=2, revision=0, recorded_time=stored.recorded_time)
    assert count == 0
    assert (await ledger.read_after(1, 10)) == [stored]


async def test_it_settles_every_forecast_of_its_game_and_horizon(ledger: Ledger) -> None:
    stored = await recorded(
        ledger,
        with_distribution(issued(pattern=(1.0, 2.0))),
        with_distribution(issued(pattern=(1.0, 4.0))),
        issued(alpha=0.1),
        issued(horizon=Horizon.FINAL),
        issued(game(2)),
    )
    told, count = await ledger.record_outcome(outcome(-3))
    assert count == 3
    expected = [
        RecordedForecast(
            one,
            superseded=superseded,
            outcome=told,
            settlement=settle(one, told),
            first_outcome_sequence=told.sequence,
        )
        for one, superseded in zip(stored, (True, False, False), strict=False)
    ]
    assert await settled(ledger) == expected


async def test_overtimes_stay_with_the_differential_that_had_them_and_alone_change_nothing(ledger: Ledger) -> None:
    told = replace(outcome(3, horizon=Horizon.FINAL), overtimes=2)
    first, _ = await ledger.record_outcome(told)
    assert first.overtimes == 2
    for again in (replace(told, overtimes=None), replace(told, overtimes=1)):
        assert await ledger.record_outcome(again) == (first, 0)
    totals, _ = await ledger.record_outcome(replace(told, overtimes=None, total_points=221))
    assert (totals.revision, totals.overtimes) == (1, 2)
    corrected, _ = await ledger.record_outcome(replace(told, differential=4, overtimes=None))
    assert (corrected.revision, corrected.overtimes) == (2, None)


async def test_a_correction_drops_what_was_learned_from_it(ledger: Ledger) -> None:
    first, _ = await ledger.record_outcome(outcome(3))
    second, _ = await ledger.record_outcome(outcome(3, game(2)))
    for place in (first.sequence, second.sequence):
        await ledger.write(partial(learning.write_snapshot, sequence=place, state=b"s", read_at=9))
    await ledger.record_outcome(outcome(4, game(2)))

    def snapshots(connection: Connection) -> list[int]:
        return [row[0] for row in connection.exec_driver_sql("SELECT sequence FROM snapshots")]

    assert await ledger.read(snapshots) == [first.sequence]


async def test_reports_and_forecasts_that_wait_together_keep_their_order(ledger: Ledger) -> None:
    # One forecast a call: a call of several may give way before it waits for the writer.
    [first], [second], (half, halves), [late], [fourth], (third, thirds) = await asyncio.gather(
        recorded(ledger, issued(game(1))),
        recorded(ledger, issued(game(2))),
        ledger.record_outcome(outcome(3, game(1))),
        ledger.commit([issued(game(1), alpha=0.1)]),
        recorded(ledger, issued(game(3))),
        ledger.record_outcome(outcome(3, game(3))),
    )
    assert [first.sequence, second.sequence, fourth.sequence] == [1, 2, 4]
    assert (half.sequence, halves) == (3, 1)
    assert getattr(late, "sequence", None) is None
    assert (third.sequence, thirds) == (5, 1)


@pytest.mark.parametrize("unfit", [outcome(3, ""), outcome(0, horizon=Horizon.FINAL)], ids=["no game", "level"])
async def test_what_is_no_outcome_is_refused(ledger: Ledger, unfit: ReportedOutcome) -> None:
    with pytest.raises(ValueError):
        await ledger.record_outcome(unfit)
    assert await ledger.head() == 0


async def test_a_market_evaluated_after_the_model_has_learned_is_recorded_and_says_so(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, issued())
    updated = replace(stored.forecast, home_lead_probability=0.61, calibration_sequence=1)
    answer = answered(MarketSide.HOME, stake_fraction=0.1)
    other = replace(updated, calibration_sequence=0)
    [unlearned] = await recorded(ledger, asked(replace(issued(), forecast=other), answer))
    unrecorded = replace(stored, markets=(SentMarket(MARKET),))
    assert unlearned == unrecorded, "a worker that still has to learn, or has other settings, weighs no bet on it"
    assert await ledger.head() == 1
    [again] = await recorded(ledger, asked(replace(issued(), forecast=updated), answer))
    assert again == replace(stored, markets=(SentMarket(MARKET, MarketRecording.RECORDED),))
    assert await ledger.head() == 2
    texts = await ledger.read(
        lambda connection: connection.exec_driver_sql("SELECT canonical FROM entries").scalars().all()
    )
    assert [codec.market_circumstances(text)[0] for text in texts[1:]] == [1]


async def test_a_market_cannot_claim_to_have_learned_from_an_entry_that_is_no_outcome(ledger: Ledger, url: str) -> None:
    [stored] = await recorded(ledger, issued())
    updated = replace(stored.forecast, home_lead_probability=0.61, calibration_sequence=stored.sequence)
    await recorded(ledger, asked(replace(issued(), forecast=updated), answered(MarketSide.HOME, stake_fraction=0.1)))
    with pytest.raises(LedgerCorrupt, match="calibration_sequence is 1; expected an outcome after 0"):
        verify(url)


async def test_a_market_belongs_to_the_revision_that_it_was_asked_about_with(ledger: Ledger) -> None:
    bet = answered(MarketSide.HOME, stake_fraction=0.1)
    await ledger.commit([asked(issued(pattern=(1.0,)), bet)])
    await ledger.commit([asked(issued(pattern=(2.0,)), bet)])
    await ledger.record_outcome(outcome(3))
    found = [(each.superseded, each.markets[0].answer if each.markets else None) for each in await settled(ledger)]
    assert found == [(True, bet), (False, bet)]


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
