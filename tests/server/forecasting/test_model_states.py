"""Updates of the online state of a worker's models, also of one that is loaded while outcomes come in."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_ledger import Ledger
from dejavu_ledger.errors import LedgerUnavailable
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.online_state import OnlineState
from dejavu_models.types import DISTRIBUTION_LEVELS, AdaptationMode, Horizon
from dejavu_server.forecasting.online_updater import OnlineUpdater

GAME = "0022400001"
NOW = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)


DISTRIBUTION = tuple(round(20 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)


def updater_of(ledger: Ledger, *forecasters: PersistenceForecaster) -> OnlineUpdater:
    return OnlineUpdater(lambda: ledger, forecasters, mode=AdaptationMode.SHADOW)


class CountingModel(PersistenceForecaster):
    """A model that counts how often it gets a state."""

    def __init__(self, version: str = "first") -> None:
        super().__init__(version)
        self.states = list[OnlineState]()

    @override
    def update(self, state: OnlineState) -> None:
        super().update(state)
        self.states.append(state)


async def test_a_model_gets_another_state_only_after_an_outcome(ledger: Ledger) -> None:
    """Data prepared for a state, such as cached what-ifs, stays valid while only forecasts are recorded."""
    model = CountingModel()
    updater = updater_of(ledger, model)
    await updater.update()
    assert len(model.states) == 1
    await ledger.commit([issued(GAME, (0.0,) * 18)])
    await updater.update()
    assert len(model.states) == 1
    await ledger.record_outcome(ReportedOutcome(GAME, Horizon.FINAL, 12, "", "", NOW, NOW))
    await updater.update()
    assert len(model.states) == 2
    later = CountingModel("later")
    await updater.add(later)
    assert (len(model.states), len(later.states)) == (3, 1)
    assert later.states[0].sequence == model.states[-1].sequence


class FailingModel(CountingModel):
    """A model that fails to take its second state, once."""

    @override
    def update(self, state: OnlineState) -> None:
        super().update(state)
        if len(self.states) == 2:
            raise MemoryError


async def test_a_state_that_a_model_could_not_take_is_given_again(ledger: Ledger) -> None:
    model = FailingModel()
    updater = updater_of(ledger, model)
    await updater.update()
    reported, _ = await ledger.record_outcome(ReportedOutcome(GAME, Horizon.FINAL, 12, "", "", NOW, NOW))
    with pytest.raises(MemoryError):
        await updater.update()
    await updater.update()
    assert len(model.states) == 3
    assert model.states[-1].sequence == reported.sequence


async def test_a_model_that_is_given_up_is_not_kept(ledger: Ledger) -> None:
    updater = updater_of(ledger)
    model = CountingModel("later")
    await updater.add(model)
    updater.remove("later")
    given_up = weakref.ref(model)
    del model
    gc.collect()
    assert given_up() is None


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
