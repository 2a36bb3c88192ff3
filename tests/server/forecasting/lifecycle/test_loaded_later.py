"""A model that is loaded while outcomes come in has the online state of one that was there from the start."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_ledger import Ledger
from dejavu_ledger.errors import LedgerUnavailable
from dejavu_models.online_state import OnlineState
from dejavu_models.types import DISTRIBUTION_LEVELS, AdaptationMode, Horizon
from dejavu_server.forecasting.online_updater import OnlineUpdater

DISTRIBUTION = tuple(round(20 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)


def updater_of(ledger: Ledger, *forecasters: PersistenceForecaster) -> OnlineUpdater:
    return OnlineUpdater(lambda: ledger, forecasters, mode=AdaptationMode.ON, carry_ratings=True)


async def play(ledger: Ledger, number: int) -> None:
    """Record forecasts of both models of a game, and its outcome."""
    game = f"00225{number:05d}"
    for version in ("early", "late"):
        made = issued(game, (0.0,) * 18, horizon=Horizon.FINAL, model_version=version)
        await ledger.commit([replace(made, forecast=replace(made.forecast, distribution=DISTRIBUTION))])
    await ledger.record_outcome(outcome(1 + number % 20, game, horizon=Horizon.FINAL))


def values(state: OnlineState) -> object:
    assert state.rated is not None
    ratings = state.rated.ratings
    return state.sequence, ratings.newest, ratings.filter.mean.tobytes(), ratings.finals, state.trackers


@pytest.mark.parametrize("games_before", [0, 60])
@pytest.mark.parametrize("games_after", [0, 5])
async def test_a_model_that_comes_later_knows_what_one_from_the_start_knows(
    ledger: Ledger, games_before: int, games_after: int
) -> None:
    late = PersistenceForecaster("late")
    grown = updater_of(ledger, PersistenceForecaster("early"))
    for number in range(games_before):
        await play(ledger, number)
    await grown.update()
    await grown.add(late)
    for number in range(games_before, games_before + games_after):
        await play(ledger, number)
    await grown.update()
    there = PersistenceForecaster("late")
    whole = updater_of(ledger, there)
    await whole.update()
    assert values(late.state) == values(there.state)
    assert grown.history == whole.history


async def test_a_model_is_not_taken_in_without_its_state(ledger: Ledger) -> None:
    updater, model = updater_of(ledger), PersistenceForecaster("late")
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await updater.add(model)
    assert model.state.sequence == 0
