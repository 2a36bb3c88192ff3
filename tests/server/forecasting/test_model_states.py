"""When the models of a worker get another online state."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.builders.issued_forecasts import issued
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_models.online_state import OnlineState
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptationMethod
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.ledger import Ledger
from dejavu_server.records import ReportedOutcome

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
    """What is prepared for a state, such as the answers of what-ifs, lasts while only forecasts are recorded."""
    model = CountingModel()
    updater = OnlineUpdater(
        ledger, [model], mode=AdaptationMode.SHADOW, method=AdaptationMethod.PID, carry_ratings=True
    )
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
