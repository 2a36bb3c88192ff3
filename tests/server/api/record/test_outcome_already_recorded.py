"""Forecast requests for a game whose outcome is recorded, and what subscribers receive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.builders.outcomes import outcome
from tests.support.processes.empty_ledger import ledger_url

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu_server.ledger import Ledger

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

CORRECTED = (*PATTERN[:-1], 12)


@pytest.fixture
async def other(service: PredictionServiceAsyncStub, tmp_path: Path) -> AsyncIterator[Ledger]:
    """The ledger of the worker, opened as by another process."""
    ledger = await Ledger.open(ledger_url(tmp_path), make=False)
    yield ledger
    await ledger.close()


def about(pattern: tuple[float, ...] = PATTERN, game_id: str = GAME) -> pb.PredictRequest:
    return pb.PredictRequest(game_id=game_id, pattern=pattern, horizon=HORIZON_HALFTIME)


async def test_a_stored_forecast_is_answered_and_a_new_one_refused_with_the_reason(
    service: PredictionServiceAsyncStub, other: Ledger
) -> None:
    stored = await service.Predict(about())
    await other.record_outcome(outcome(9, GAME))
    assert await service.Predict(about()) == stored
    refused = await refusal(service.Predict(about(CORRECTED)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OUTCOME_KNOWN")
    assert refused.message.startswith(f"the outcome of game {GAME} at halftime is recorded (ledger entry 2)")
    assert (await service.Predict(about(CORRECTED, game_id=""))).forecast.point_forecast == 12
    assert await other.head() == 2


async def test_subscribers_hear_of_it(service: PredictionServiceAsyncStub, other: Ledger) -> None:
    stream = service.StreamPredictions(pb.StreamPredictionsRequest(game_ids=[GAME]))
    messages = aiter(stream)
    assert (await anext(messages)).HasField("heartbeat")
    told, _ = await other.record_outcome(outcome(9, GAME, home_team="BOS", away_team="LAL"))
    heard = await anext(messages)
    assert heard.resume_token == other.token(1)
    assert (heard.outcome.game_id, heard.outcome.differential, heard.outcome.sequence) == (GAME, 9, 1)
    assert (heard.outcome.home_team, heard.outcome.away_team, heard.outcome.revision) == ("BOS", "LAL", 0)
    assert heard.outcome.recorded_time.ToMicroseconds() * 1000 == pytest.approx(told.recorded_time.timestamp() * 1e9)
    stream.cancel()
