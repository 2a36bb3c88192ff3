"""The model that answers: by the roster in force, by version, by alias and by game."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_models.errors import UnknownModel
from dejavu_models.registry.stages import ModelAction, ModelChange, NotRegistered, Roster
from dejavu_server.forecasting.lifecycle import models as module
from dejavu_server.forecasting.lifecycle.errors import NotLoaded
from dejavu_server.forecasting.lifecycle.models import ServingModels, answering
from dejavu_server.ledger.errors import LedgerUnavailable, ModelsChanged

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def roster_of(*changes: tuple[ModelAction, str], shares: tuple[tuple[str, float], ...] = ()) -> Roster:
    roster = Roster()
    for sequence, (action, version) in enumerate(changes, 1):
        roster = roster.after(ModelChange(action, version, NOW, sequence=sequence))
    if shares:
        roster = roster.after(ModelChange(ModelAction.ROUTE, "", NOW, shares=shares, sequence=roster.sequence + 1))
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
    serving = ServingModels(8)
    for version in ("new", "old"):
        serving.add(PersistenceForecaster(version))
    serving.switch(roster_of(*CHAMPION_AND_CHALLENGER))
    return serving


def test_before_the_roster_is_known_nothing_answers() -> None:
    with pytest.raises(LedgerUnavailable):
        ServingModels(8).choose("")


def test_the_champion_answers_and_says_by_which_roster(models: ServingModels) -> None:
    for game_id in ("", "0022500001"):
        assert models.choose(game_id) == (models.get("old"), 5, "")
    assert models.get().version == "old"
    assert models.versions[0] == "old"
    assert next(each.version for each in models.models()) == "old"
    assert [each.version for each in models.challengers()] == ["new"]


def test_a_model_answers_by_version_and_by_alias(models: ServingModels) -> None:
    assert models.get("new") is models.get("challenger")
    assert models.get("champion").version == "old"
    with pytest.raises(NotRegistered):
        models.get("previous")
    with pytest.raises(NotLoaded):
        models.get("idle")
    with pytest.raises(UnknownModel):
        models.get("nobody")


def test_games_are_routed_to_arms_and_what_ifs_are_not(models: ServingModels) -> None:
    models.switch(roster_of(*CHAMPION_AND_CHALLENGER, shares=(("new", 0.5),)))
    games = [f"00225{number:05d}" for number in range(200)]
    chosen = [models.choose(game) for game in games]
    assert {(each.forecaster.version, each.arm) for each in chosen} == {("old", "champion"), ("new", "challenger")}
    assert 60 < sum(each.arm == "challenger" for each in chosen) < 140
    assert chosen == [models.choose(game) for game in games]
    assert models.choose("").arm == ""
    assert answering(models.roster) == ("old", "new")


def test_what_names_the_answering_models_changes_with_them_and_with_nothing_else(models: ServingModels) -> None:
    before = models.token
    promoted = roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"))
    models.switch(promoted)
    assert models.token != before
    again = models.token
    models.switch(roster_of(*CHAMPION_AND_CHALLENGER, (ModelAction.PROMOTE, "new"), (ModelAction.REGISTER, "old")))
    assert models.token == again


def test_the_least_recently_asked_model_is_given_up_first_and_none_that_the_roster_names() -> None:
    models = ServingModels(3)
    for version in ("old", "a", "b", "c"):
        models.add(PersistenceForecaster(version))
    models.switch(roster_of((ModelAction.REGISTER, "old"), (ModelAction.PROMOTE, "old")))
    models.get("a")
    assert models.superfluous(["old"]) == ["b"]
    assert models.superfluous(["old", "b"]) == ["c"]
    models.remove("b")
    assert models.superfluous(["old"]) == []


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
    assert models.choose("").forecaster.version == "new"
    assert len(looks) == 2


async def test_a_call_does_not_wait_for_ever(models: ServingModels, monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow() -> bool:
        return False

    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    models.follow = follow
    async with asyncio.timeout(10):
        with pytest.raises(ModelsChanged):
            await models.wait_for(99)
