"""The model that answers: by the roster in force, by version and by alias."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_ledger.errors import LedgerUnavailable, ModelsChanged
from dejavu_server.forecasting.lifecycle import models as module
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotLoaded
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import LoadFailure
from dejavu_store.stages import ModelAction, ModelChange, Roster

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def roster_of(*changes: tuple[ModelAction, str]) -> Roster:
    roster = Roster()
    for sequence, (action, version) in enumerate(changes, 1):
        roster = roster.after(ModelChange(action, version, NOW, sequence=sequence))
    return roster


CHAMPION_AND_CHALLENGER = (
    (ModelAction.REGISTER, "old"),
    (ModelAction.PROMOTE, "old"),
    (ModelAction.REGISTER, "new"),
    (ModelAction.LOAD, "new"),
    (ModelAction.REGISTER, "idle"),
)


@pytest.fixture
def models() -> ServingModels:
    serving = ServingModels()
    for version in ("new", "old"):
        serving.add(PersistenceForecaster(version))
    serving.switch(roster_of(*CHAMPION_AND_CHALLENGER))
    return serving


def test_before_the_roster_is_known_nothing_answers() -> None:
    with pytest.raises(LedgerUnavailable):
        ServingModels().choose()


def test_a_model_that_could_not_be_loaded_says_why(models: ServingModels) -> None:
    models.failures["idle"] = LoadFailure("", "its files are damaged")
    with pytest.raises(NotLoaded, match="loaded: old, new; model idle cannot be loaded: its files are damaged"):
        models.get("idle")


def test_what_names_the_answering_models_changes_with_them_and_with_nothing_else(models: ServingModels) -> None:
    before = models.token
    promoted = roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"))
    models.switch(promoted)
    assert models.token != before
    again = models.token
    models.switch(roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"), (ModelAction.REGISTER, "old")))
    assert models.token == again


async def test_a_call_waits_until_the_change_is_in_force(models: ServingModels) -> None:
    looks = []
    promoted = roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"))

    async def follow() -> bool:
        looks.append(1)
        if len(looks) == 2:
            models.switch(promoted)
        return len(looks) == 2

    models.follow = follow
    await models.wait_for(models.roster.sequence)
    assert looks == []
    await models.wait_for(promoted.sequence)
    assert models.choose().forecaster.version == "new"
    assert len(looks) == 2


async def test_a_call_does_not_wait_for_ever(models: ServingModels, monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow() -> bool:
        return False

    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    models.follow = follow
    async with asyncio.timeout(10):
        with pytest.raises(ModelsChanged):
            await models.wait_for(99)
