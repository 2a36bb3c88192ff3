"""Refusals that may pass say when to retry, by a real server and as the client's `retry_after`; no other does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.builders.calls import GAME, PATTERN, current_game

from dejavu_client import AsyncDejavuClient, DejavuClientError, predict_request
from dejavu_client.errors import from_predict_error
from dejavu_server.ledger import Ledger, LedgerUnavailable
from dejavu_server.worker.worker import Worker


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


async def test_what_waiting_does_not_help(client: AsyncDejavuClient) -> None:
    assert await refusal_of(client.predict([])) == ("INVALID_PATTERN", None)
    assert await refusal_of(client.predict(PATTERN, model_version="x")) == ("UNKNOWN_MODEL_VERSION", None)
    assert await refusal_of(client.get_prediction(GAME)) == ("UNKNOWN_GAME", None)
    await client.report_outcome(current_game(1), 3)
    assert await refusal_of(client.predict(PATTERN, game_id=current_game(1))) == ("OUTCOME_KNOWN", None)
