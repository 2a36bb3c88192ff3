"""While a server runs: a pruned record says so wherever it is read, and no stream skips anything after a restore."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
from tests.server.ledger.retention.evenings import KEY, Evenings, evenings_at
from tests.server.ledger.retention.test_pruning import NOW, planned, prune
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.subscribers import Subscriber, started
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as prediction
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import FINAL
from dejavu_server.ledger import Ledger, ResumeTokenExpired
from dejavu_server.ledger.retention import pruning
from dejavu_server.ledger.retention.backup import back_up, restore
from dejavu_server.streaming import broadcaster as broadcasting
from dejavu_server.streaming import ledger_manager

Stream: TypeAlias = grpc.aio.UnaryStreamCall[prediction.StreamPredictionsRequest, prediction.StreamPredictionsResponse]


@pytest.fixture
def evenings(tmp_path: Path) -> Evenings:
    return evenings_at(tmp_path / "ledger.sqlite3", 3)


@asynccontextmanager
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        async_worker(tmp_path, PersistenceForecaster()) as worker,
        grpc.aio.insecure_channel(worker.address) as opened,
    ):
        yield opened


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


async def read_to_end(subscriber: Subscriber, seen: list[int]) -> None:
    """Read a stream to its end, and add the sequences of its events."""
    while True:
        message = await subscriber.next()
        match message.WhichOneof("event"):
            case "forecast":
                seen.append(message.forecast.sequence)
            case "outcome":
                seen.append(message.outcome.sequence)


@pytest.mark.sqlite
async def test_scorecards_leaderboards_and_checkpoints_say_what_was_removed(evenings: Evenings, tmp_path: Path) -> None:
    async with channel(tmp_path) as opened:
        stub = RecordServiceStub(opened)
        scope = pb.ScoreFilter(horizon=FINAL)
        whole = (await stub.GetScorecard(pb.GetScorecardRequest(filter=scope))).scorecard
        assert not whole.HasField("pruned")
        assert not (await stub.GetCheckpoint(pb.GetCheckpointRequest())).checkpoint.HasField("pruned")
        prune(evenings.backend, evenings.signed[1].sequence)
        card = (await stub.GetScorecard(pb.GetScorecardRequest(filter=scope))).scorecard
        board = await stub.GetLeaderboard(pb.GetLeaderboardRequest(filter=scope, min_games=1))
        signed = (await stub.GetCheckpoint(pb.GetCheckpointRequest())).checkpoint
    evenings.backend.close()
    assert (whole.games, card.games) == (6, 2)
    for pruned in (card.pruned, board.rows[0].scorecard.pruned, signed.pruned):
        assert pruned.through_sequence == evenings.signed[1].sequence
        assert pruned.recorded_before.ToDatetime(UTC) == evenings.signed[1].signed_time
        assert pruned.pruned_time.ToDatetime(UTC) == NOW


async def test_a_subscriber_that_catches_up_while_entries_are_removed_skips_none_in_silence(
    evenings: Evenings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasting, "PAGE_MESSAGES", 3)
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3")
    async with started(ledger) as broadcaster:
        subscriber = Subscriber(broadcaster, token=ledger.token(0))
        async with aclosing(subscriber.stream):
            await subscriber.heartbeat()
            seen = [(await subscriber.next()).forecast.sequence for _ in range(3)]
            through = evenings.signed[1].sequence
            statement = pruning.begin(evenings.backend, planned(evenings.backend, through), KEY, NOW)
            pruning.remove(evenings.backend, statement, pause=lambda _: None)
            with pytest.raises(ResumeTokenExpired, match="removed meanwhile"):
                await read_to_end(subscriber, seen)
    await ledger.close()
    evenings.backend.close()
    assert seen == sorted(seen)
    assert seen[-1] <= evenings.signed[1].sequence, "it did not go on behind the gap"


@pytest.mark.sqlite
async def test_a_server_goes_on_with_a_restored_ledger_and_tells_who_resumes(
    evenings: Evenings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCH_SECONDS", "FIRST_RETRY_SECONDS", "LONGEST_RETRY_SECONDS"):
        monkeypatch.setattr(ledger_manager, name, 0.05)
    evenings.backend.close()
    back_up(f"sqlite:///{tmp_path}/ledger.sqlite3", tmp_path / "backup.db")
    async with channel(tmp_path) as opened:
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
