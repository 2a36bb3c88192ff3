"""What models learn from outcomes: what stands, and no longer what was withdrawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.builders.outcomes import outcome

from dejavu_ledger import Ledger
from dejavu_ledger.queries import learning
from dejavu_models.types import Horizon


async def test_what_is_learned_has_the_total_that_stands(ledger: Ledger) -> None:
    observed = datetime(2023, 11, 1, 4, tzinfo=UTC)
    final = replace(outcome(5, "0022300061", horizon=Horizon.FINAL, observed_time=observed), total_points=211)

    async def learned() -> list[int | None]:
        games = await ledger.read(lambda connection: learning.settled_games_after(connection, 0))
        return [game.total_points for game in games]

    await ledger.record_outcome(final)
    assert await learned() == [211]
    await ledger.record_outcome(replace(final, total_points=217, observed_time=observed + timedelta(minutes=1)))
    assert await learned() == [217]
    await ledger.withdraw_outcome(final.game_id, Horizon.FINAL)
    assert await learned() == []
