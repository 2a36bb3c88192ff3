"""While a server runs, no stream skips in silence what its ledger has lost, by a restore or otherwise."""

from __future__ import annotations

from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
from tests.ledger.copies.evenings import Evenings, evenings_at
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.subscribers import Subscriber, started
from tests.support.harness.tokens import token_of
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as prediction
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_ledger import Ledger, ResumeTokenExpired
from dejavu_ledger.copies import back_up, restore
from dejavu_ledger.database import sql
from dejavu_server.streaming import broadcaster as broadcasting
from dejavu_server.streaming import ledger_manager

Stream: TypeAlias = grpc.aio.UnaryStreamCall[prediction.StreamPredictionsRequest, prediction.StreamPredictionsResponse]


@pytest.fixture
def evenings(tmp_path: Path) -> Evenings:
    return evenings_at(tmp_path / "ledger.sqlite3", 3)


async def position(stream: Stream) -> str:
    """Return the token of the next message."""
    message = await stream.read()
    assert isinstance(message, prediction.StreamPredictionsResponse)
    return message.resume_token


async def end_of(stream: Stream) -> grpc.StatusCode:
    """Read a stream to its end; return its code."""
    with suppress(grpc.aio.AioRpcError):
        while await stream.read():
            pass
    return await stream.code()


async def read_to_end(subscriber: Subscriber) -> None:
    while True:
        await subscriber.next()


async def test_a_subscriber_that_catches_up_while_entries_are_lost_is_told_that_its_token_expired(
    evenings: Evenings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasting, "PAGE_MESSAGES", 3)
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3")
    async with started(ledger) as broadcaster:
        subscriber = Subscriber(broadcaster, token=await token_of(ledger, 0))
        async with aclosing(subscriber.stream):
            await subscriber.heartbeat()
            assert (await subscriber.next()).forecast.sequence == 1
            with evenings.backend.write() as connection:
                for table in ("markets", "forecasts", "outcomes", "entries"):
                    sql.rows(connection, f"DELETE FROM {table}")
            with pytest.raises(ResumeTokenExpired, match="lost meanwhile"):
                await read_to_end(subscriber)
    await ledger.close()
    evenings.backend.close()


@pytest.mark.sqlite
async def test_a_server_goes_on_with_a_restored_ledger_and_tells_who_resumes(
    evenings: Evenings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCH_SECONDS", "FIRST_RETRY_SECONDS", "LONGEST_RETRY_SECONDS"):
        monkeypatch.setattr(ledger_manager, name, 0.05)
    evenings.backend.close()
    back_up(f"sqlite:///{tmp_path}/ledger.sqlite3", tmp_path / "backup.db")
    async with (
        async_worker(tmp_path, PersistenceForecaster()) as worker,
        grpc.aio.insecure_channel(worker.address) as opened,
    ):
        stub = PredictionServiceStub(opened)
        stream = stub.StreamPredictions(prediction.StreamPredictionsRequest())
        token = await position(stream)
        for name in ("ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"):
            if (tmp_path / name).exists():
                (tmp_path / name).rename(tmp_path / f"old-{name}")
        restore(tmp_path / "backup.db", f"sqlite:///{tmp_path}/ledger.sqlite3")
        assert await end_of(stream) is grpc.StatusCode.UNAVAILABLE
        resume = prediction.StreamPredictionsRequest(resume_token=token)
        resumed = stub.StreamPredictions(resume)
        while await end_of(resumed) is grpc.StatusCode.UNAVAILABLE:  # until it has opened the restored ledger
            resumed = stub.StreamPredictions(resume)
        assert await resumed.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "issued before the ledger was restored" in str(await resumed.details())
        anew = await position(stub.StreamPredictions(prediction.StreamPredictionsRequest()))
        assert anew != token
