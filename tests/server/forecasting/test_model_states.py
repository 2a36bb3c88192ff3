"""Updates of the online state of a worker's models."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime

import pytest
from tests.support.builders.issued_forecasts import issued
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_ledger import Ledger
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.online_state import OnlineState
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_server.forecasting.online_updater import OnlineUpdater

GAME = "0022400001"
NOW = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)


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
    updater = OnlineUpdater(lambda: ledger, [model], mode=AdaptationMode.SHADOW, carry_ratings=True)
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
    updater = OnlineUpdater(lambda: ledger, [model], mode=AdaptationMode.SHADOW, carry_ratings=True)
    await updater.update()
    outcome, _ = await ledger.record_outcome(ReportedOutcome(GAME, Horizon.FINAL, 12, "", "", NOW, NOW))
    with pytest.raises(MemoryError):
        await updater.update()
    await updater.update()
    assert len(model.states) == 3
    assert model.states[-1].sequence == outcome.sequence


async def test_a_model_that_is_given_up_is_not_kept(ledger: Ledger) -> None:
    updater = OnlineUpdater(lambda: ledger, [], mode=AdaptationMode.SHADOW, carry_ratings=True)
    model = CountingModel("later")
    await updater.add(model)
    updater.remove("later")
    given_up = weakref.ref(model)
    del model
    gc.collect()
    assert given_up() is None
