"""Totals in the ledger: of forecasts and outcomes, scored, corrected, learned, and absent where there were none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import TOTAL, issued, recorded
from tests.support.builders.outcomes import outcome

from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger, verify
from dejavu_ledger.errors import OutcomeStands
from dejavu_ledger.queries import learning
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import InvalidLiveInput
from dejavu_models.types import Horizon, TotalForecast


def forecast(total: TotalForecast | None = TOTAL, points: int | None = 81, **fields: Any) -> IssuedForecast:
    made = issued(**fields)
    return replace(made, forecast=replace(made.forecast, total=total), live=LiveInputs(points))


async def test_a_total_that_is_added_corrects_nothing_and_another_one_does(ledger: Ledger, url: str) -> None:
    await recorded(ledger, forecast())
    first, _ = await ledger.record_outcome(outcome(3))
    added, _ = await ledger.record_outcome(replace(outcome(3), total_points=111), correct=False)
    assert (added.revision, added.total_points) == (1, 111)
    for again in (outcome(3), replace(outcome(3), total_points=111)):
        assert (await ledger.record_outcome(again, correct=False))[0] == added
    with pytest.raises(OutcomeStands, match="113 points instead of 111"):
        await ledger.record_outcome(replace(outcome(3), total_points=113), correct=False)
    corrected, _ = await ledger.record_outcome(replace(outcome(3), total_points=113))
    assert (corrected.revision, corrected.total_points) == (2, 113)
    # Points reported with another differential need not be those of this one.
    other, _ = await ledger.record_outcome(outcome(4))
    assert (other.revision, other.total_points) == (3, None)
    assert first.total_points is None
    verify(url)


async def test_a_game_does_not_end_with_fewer_points_than_the_half_had(ledger: Ledger) -> None:
    await ledger.record_outcome(replace(outcome(3), total_points=111))
    final = partial(outcome, 5, horizon=Horizon.FINAL)
    with pytest.raises(InvalidLiveInput, match="111, recorded at the half"):
        await ledger.record_outcome(replace(final(), total_points=109))
    stored, _ = await ledger.record_outcome(replace(final(), total_points=211))
    assert stored.total_points == 211
    with pytest.raises(InvalidLiveInput, match="211, recorded at the end"):
        await ledger.record_outcome(replace(outcome(3), total_points=213))


async def test_what_is_learned_has_the_total_that_stands(ledger: Ledger) -> None:
    observed = datetime(2023, 11, 1, 4, tzinfo=UTC)
    final = replace(outcome(5, "0022300061", horizon=Horizon.FINAL, observed_time=observed), total_points=211)

    async def learned() -> list[int | None]:
        games = await ledger.read(lambda connection: list(learning.settled_games_after(connection, 0)))
        return [game.total_points for game in games]

    await ledger.record_outcome(final)
    assert await learned() == [211]
    await ledger.record_outcome(replace(final, total_points=217, observed_time=observed + timedelta(minutes=1)))
    assert await learned() == [217]
    await ledger.withdraw_outcome(final.game_id, Horizon.FINAL)
    assert await learned() == []
