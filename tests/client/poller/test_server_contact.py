"""A poller reports within one turn that its server does not answer, whatever the games are doing."""

from __future__ import annotations

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.fakes.service import FakeServer
from tests.support.harness.poller import watching

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import UnavailableError
from dejavu_client.poller.events import Fault, FaultKind
from dejavu_client.transport.health import HealthStatus


async def test_a_server_that_is_not_there_is_reported_in_the_first_turn_with_address_and_cause() -> None:
    with FakeServer() as server:
        target = server.target
    async with (
        AsyncDejavuClient(target) as client,
        watching(Evening([game()]), client=client) as watch,
    ):
        await watch.turn()
        [fault] = watch.told(Fault)
    assert (fault.source, fault.kind) == ("server", FaultKind.SERVER)
    assert f"cannot reach {target}: is a dejavu-server running there? (" in fault.reason
    assert "refused" in fault.reason
    assert watch.poller.server_failure == fault.reason


async def test_a_server_that_goes_away_between_two_forecasts_is_reported_in_the_next_turn_and_forgotten_once_back() -> (
    None
):
    predictor = StoringPredictor()
    async with watching(Evening([game()]), predictor) as watch:
        await watch.turn()
        assert watch.told(Fault) == []
        predictor.unreachable = [UnavailableError("cannot reach it")]
        await watch.turn()
        assert [(each.source, each.reason) for each in watch.told(Fault)] == [("server", "cannot reach it")]
        assert watch.poller.server_failure == "cannot reach it"
        await watch.turn()
        assert watch.poller.server_failure == ""


@pytest.mark.parametrize("status", [HealthStatus.NOT_SERVING, HealthStatus.UNKNOWN])
async def test_a_server_that_makes_no_forecasts_is_reported(status: HealthStatus) -> None:
    class Sick(StoringPredictor):
        async def health(self, service: str = "") -> HealthStatus:
            return status

    async with watching(Evening([game()]), Sick()) as watch:
        await watch.turn()
        [fault] = watch.told(Fault)
    assert fault.reason == f"the server makes no forecasts: its health is {status.name}"
