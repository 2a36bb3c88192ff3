"""Forecasts of challengers in the ledger: beside a recorded one, once, never with hindsight, never streamed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import shadow
from tests.support.builders.outcomes import outcome

from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger, verify
from dejavu_server.ledger.database.recorded_games import RecordingLimits
from dejavu_server.ledger.database.schema import forecasts, shadows
from dejavu_server.ledger.entries.shadows import parse_shadow
from dejavu_server.ledger.queries.predictions import canonical_forms
from dejavu_server.records import ShadowRefusal


async def test_it_is_recorded_once_beside_its_forecast(ledger: Ledger, url: str) -> None:
    [first, second] = await recorded(ledger, issued(game(1)), issued(game(2)))
    made = await ledger.record_shadows([shadow(first), shadow(second), shadow(first, "v3")])
    assert [(each.sequence, each.forecast_sequence) for each in made.recorded] == [(3, 1), (4, 2), (5, 1)]
    again = await ledger.record_shadows([shadow(first), shadow(first, "v4")])
    assert [each.sequence for each in again.recorded] == [6]
    assert again.refused == {ShadowRefusal.RECORDED: 1}
    assert verify(url).shadows == 4


async def test_its_row_is_found_by_model_and_scored_as_a_forecast_is(ledger: Ledger, url: str) -> None:
    [first] = await recorded(ledger, issued(game(1)))
    await ledger.record_shadows([shadow(first)])
    row = await ledger.read(lambda connection: connection.execute(select(shadows)).one())
    beside = await ledger.read(lambda connection: connection.execute(select(forecasts)).one())
    assert (row.forecast_sequence, row.model_version) == (1, "v2")
    assert (row.game_id, row.horizon, row.minute, row.replay) == (
        beside.game_id,
        beside.horizon,
        beside.minute,
        beside.replay,
    )
    assert row.scored_values == beside.scored_values, "the same forecast has the same scores"


async def test_none_is_recorded_once_the_outcome_is_known(ledger: Ledger, url: str) -> None:
    [first] = await recorded(ledger, issued(game(1)))
    await ledger.record_outcome(outcome(3, game(1)))
    for _ in range(2):
        made = await ledger.record_shadows([shadow(first)])
        assert (made.recorded, made.refused) == ((), {ShadowRefusal.OUTCOME_KNOWN: 1})
        await ledger.withdraw_outcome(game(1), Horizon.HALFTIME)


async def test_one_that_is_not_of_its_forecast_is_left_out(ledger: Ledger, url: str) -> None:
    [first] = await recorded(ledger, issued(game(1)))
    other_minute = shadow(first)
    other_minute = replace(other_minute, forecast=replace(other_minute.forecast, elapsed_minutes=7))
    made = await ledger.record_shadows(
        [shadow(first, "v1"), other_minute, replace(shadow(first), forecast_sequence=99)]
    )
    assert made.recorded == ()
    assert made.refused == {ShadowRefusal.OTHER_FORECAST: 2, ShadowRefusal.NO_FORECAST: 1}
    assert await ledger.head() == 1


async def test_it_is_never_streamed_and_what_follows_it_is(ledger: Ledger, url: str) -> None:
    async with aclosing(ledger.tail(0, poll_seconds=3600.0)) as tail:
        [first] = await recorded(ledger, issued(game(1)))
        assert [each.sequence for each in await anext(tail)] == [1]
        await ledger.record_shadows([shadow(first)])
        await recorded(ledger, issued(game(2)))
        assert [each.sequence for each in await anext(tail)] == [3]
    assert [each.sequence for each in await ledger.read_after(0, 10)] == [1, 3]


async def test_the_writer_still_knows_the_record_after_it(ledger: Ledger, url: str) -> None:
    [first] = await recorded(ledger, issued(game(1)))
    known = ledger._writer._known
    before = known.revisions
    await ledger.record_shadows([shadow(first)])
    assert known.revisions is before
    [again] = await recorded(ledger, issued(game(1)))
    assert again.sequence == 1
    assert known.revisions is before


async def test_none_is_recorded_while_the_disk_is_kept_for_outcomes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(30):
        ledger = await Ledger.open(url, limits=RecordingLimits(reserve_bytes=1000))
        monkeypatch.setattr(ledger._backend, "free_bytes", lambda: 1000)
        [first] = await recorded(ledger, issued(game(1)))
        monkeypatch.setattr(ledger._backend, "free_bytes", lambda: 999)
        made = await ledger.record_shadows([shadow(first)])
        assert (made.recorded, made.refused) == ((), {ShadowRefusal.DISK_RESERVE: 1})
        await ledger.close()


async def test_no_explanation_is_recorded_of_it(ledger: Ledger) -> None:
    [first] = await recorded(ledger, issued(game(1)))
    [made] = (await ledger.record_shadows([shadow(first)])).recorded
    text = await ledger.read(lambda connection: canonical_forms(connection, [made.sequence])[made.sequence])
    read = parse_shadow(text, first.forecast.horizon, first.forecast.alpha)
    assert read == made
    assert (read.forecast.explanation, read.forecast.model_version) == (None, "v2")
