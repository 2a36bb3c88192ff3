"""A forecast whose model is replaced before it is recorded is made again, by the model that answers then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.builders.calls import GAME
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_ledger import Ledger
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import UNLIMITED, Recorder
from dejavu_ledger.records import IssuedForecast
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.results import Failed, Result
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import CHANGES_FOLLOWED, ForecastService
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotChampion
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics
from dejavu_store.stages import ModelAction, ModelChange, Roster

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class ChangingLedger(Ledger):
    """A ledger in which the models change: records only forecasts by the roster that stands.

    Attributes:
        sequence: sequence of the newest change of models.
        recorded: what was recorded.
    """

    def __init__(self) -> None:
        self.sequence = 2
        self.recorded: list[IssuedForecast] = []

    async def commit(
        self, issued: Sequence[IssuedForecast], recorder: Recorder = UNLIMITED
    ) -> list[Result[IssuedForecast]]:
        return [self._result(each) for each in issued]

    def _result(self, each: IssuedForecast) -> Result[IssuedForecast]:
        if each.roster_sequence not in (None, self.sequence):
            return Failed(ModelsChanged(self.sequence))
        self.recorded.append(replace(each, sequence=100 + len(self.recorded), created=True))
        return self.recorded[-1]


class Setting:
    """A forecast service whose models follow a ledger."""

    def __init__(self) -> None:
        self.ledger = ChangingLedger()
        self.models = ServingModels()
        self.new: list[IssuedForecast] = []
        for version in ("one", "two"):
            self.models.add(PersistenceForecaster(version))
        self.models.switch(self.roster())
        self.models.follow = self.follow
        self.batcher = Batcher(Metrics())
        self.metrics = Metrics()
        self.service = ForecastService(
            self.models,
            self.batcher,
            lambda: self.ledger,
            self.metrics,
            lifetime=timedelta(minutes=5),
            on_new=self.new.append,
            clock=lambda: NOW,
        )

    def roster(self) -> Roster:
        changes = [(ModelAction.REGISTER, "one"), (ModelAction.PROMOTE, "one")]
        if self.ledger.sequence > 2:
            changes += [(ModelAction.REGISTER, "two"), (ModelAction.LOAD, "two"), (ModelAction.PROMOTE, "two")]
        roster = Roster()
        for sequence, (action, version) in enumerate(changes, 1):
            roster = roster.after(ModelChange(action, version, NOW, sequence=sequence))
        return replace(roster, sequence=self.ledger.sequence)

    async def follow(self) -> bool:
        self.models.switch(self.roster())
        return True


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting()
    yield made
    await made.batcher.close()


def question(game_id: str = GAME, model: str = "") -> ForecastRequest:
    return ForecastRequest(game_id, model, ForecastQuery(ScorePattern((*[0.0] * 17, 4.0))))


async def test_the_model_that_answers_by_then_makes_the_forecast(setting: Setting) -> None:
    setting.ledger.sequence = 5
    issued = await setting.service.forecast(question(), SERVER)
    assert (issued.forecast.model_version, issued.roster_sequence) == ("two", 5)
    assert setting.ledger.recorded == [issued] == setting.new


async def test_those_of_a_batch_that_the_change_concerns_are_made_again(setting: Setting) -> None:
    setting.ledger.sequence = 5
    requests = [question(), question("", ""), question("0022500002", "one"), question("0022500003")]
    answers = await setting.service.forecast_many(requests, SERVER)
    versions = [answer.forecast.model_version for answer in answers if isinstance(answer, IssuedForecast)]
    assert versions == ["two", "one", "two"]
    [refused] = [each.error for each in answers if isinstance(each, Failed)]
    assert isinstance(refused, NotChampion)
    assert [each.game_id for each in setting.new] == [GAME, "0022500003"]


async def test_a_named_game_is_forecast_by_the_champion_alone(setting: Setting) -> None:
    setting.ledger.sequence = 5
    await setting.models.wait_for(5)
    assert (await setting.service.forecast(question("", "one"), SERVER)).forecast.model_version == "one"
    issued = await setting.service.forecast(question(model="two"), SERVER)
    assert (issued.forecast.model_version, issued.roster_sequence) == ("two", 5)
    with pytest.raises(NotChampion, match=r"model_version: 'one'; expected none, or two, the champion"):
        await setting.service.forecast(question(model="one"), SERVER)


async def test_changes_without_end_are_an_error_that_may_pass(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = setting.follow
    followed = []

    async def outrun() -> bool:
        followed.append(await follow())
        setting.ledger.sequence += 1
        return True

    setting.models.follow = outrun
    setting.ledger.sequence = 5
    with pytest.raises(ModelsChanged):
        await setting.service.forecast(question(), SERVER)
    assert len(followed) == CHANGES_FOLLOWED - 1
    followed.clear()
    [result] = await setting.service.forecast_many([question()], SERVER)
    assert isinstance(result, Failed)
    assert isinstance(result.error, ModelsChanged)
    assert setting.ledger.recorded == []
