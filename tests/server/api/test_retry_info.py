"""Refusals that may pass say when to retry, by a real server and as the client's `retry_after`; no other does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.builders.calls import GAME, PATTERN, current_game, refusal

from dejavu.v1.prediction_service_pb2 import PredictRequest, StreamPredictionsRequest
from dejavu_client import AsyncDejavuClient, DejavuClientError, predict_request
from dejavu_client.errors import from_predict_error
from dejavu_server.admission.errors import Overloaded
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.ledger import Ledger, LedgerUnavailable
from dejavu_server.streaming.errors import SubscriberTooSlow
from dejavu_server.streaming.subscription import Subscription
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


def _refuse(*_: object) -> None:
    raise Overloaded("too many queries are waiting")


@pytest.fixture
async def client(worker: Worker) -> AsyncIterator[AsyncDejavuClient]:
    async with AsyncDejavuClient(worker.address, channels=1, timeout=30) as client:  # it retries
        yield client


async def refusal_of(call: Any) -> tuple[str, float | None]:
    with pytest.raises(DejavuClientError) as caught:
        async with asyncio.timeout(20):
            await call
    return caught.value.reason, caught.value.retry_after


async def test_an_unavailable_ledger(client: AsyncDejavuClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*_: object) -> Any:
        raise LedgerUnavailable("the disk is full")

    monkeypatch.setattr(Ledger, "commit", unavailable)
    assert await refusal_of(client.predict(PATTERN, game_id=GAME)) == ("LEDGER_UNAVAILABLE", 0.5)
    batch = [predict_request(PATTERN, game_id=GAME), predict_request([])]
    errors = [from_predict_error(each.error) for each in await client.predict_batch(batch)]
    assert [(error.reason, error.retry_after) for error in errors] == [
        ("LEDGER_UNAVAILABLE", 0.5),
        ("INVALID_PATTERN", None),
    ]


@pytest.mark.sqlite
async def test_a_signing_key_that_cannot_be_used(client: AsyncDejavuClient, tmp_path: Path) -> None:
    (tmp_path / "signing-key.pem").write_text("nonsense")
    assert await refusal_of(client.get_checkpoint()) == ("SIGNING_UNAVAILABLE", 0.5)


async def test_an_overloaded_worker(client: AsyncDejavuClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "_admit", _refuse)
    assert await refusal_of(client.predict(PATTERN)) == ("OVERLOADED", 1.0)


async def test_a_draining_worker(service: PredictionServiceAsyncStub, worker: Worker) -> None:
    stream = service.StreamPredictions(StreamPredictionsRequest())
    await stream.read()
    await worker.drain()
    refused = await refusal(stream.read())
    assert (refused.reason, refused.retry_seconds) == ("DRAINING", 0.5)


async def test_a_subscriber_that_reads_too_slowly(
    service: PredictionServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = service.StreamPredictions(StreamPredictionsRequest())
    await stream.read()
    monkeypatch.setattr(Subscription, "offer", lambda subscription, _: subscription.end(SubscriberTooSlow()))
    await service.Predict(PredictRequest(pattern=PATTERN, game_id=GAME))
    refused = await refusal(stream.read())
    assert (refused.reason, refused.retry_seconds) == ("SUBSCRIBER_TOO_SLOW", 1.0)


async def test_what_waiting_does_not_help(client: AsyncDejavuClient) -> None:
    assert await refusal_of(client.predict([])) == ("INVALID_PATTERN", None)
    assert await refusal_of(client.predict(PATTERN, model_version="x")) == ("UNKNOWN_MODEL_VERSION", None)
    assert await refusal_of(client.get_prediction(GAME)) == ("UNKNOWN_GAME", None)
    await client.report_outcome(current_game(1), 3)
    assert await refusal_of(client.predict(PATTERN, game_id=current_game(1))) == ("OUTCOME_KNOWN", None)
