"""GetCheckpoint of a real worker: a signed head or an error; forecasts work in both cases."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.empty_ledger import ledger_url

from dejavu.v1 import prediction_service_pb2 as prediction
from dejavu.v1 import record_service_pb2 as record
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_ledger import verify
from dejavu_ledger.audit.checkpoints import is_signed
from dejavu_server.cli import checkpoint_files


async def test_a_checkpoint_is_of_what_was_answered_before(
    worker: object, channel: grpc.aio.Channel, tmp_path: Path
) -> None:
    predict, record_service = PredictionServiceStub(channel), RecordServiceStub(channel)
    answer = await predict.Predict(prediction.PredictRequest(game_id=GAME, pattern=PATTERN, horizon=HORIZON_HALFTIME))
    message = (await record_service.GetCheckpoint(record.GetCheckpointRequest())).checkpoint
    checkpoint = checkpoint_files.from_message(message)
    assert checkpoint.sequence == answer.forecast.sequence == 1
    assert is_signed(checkpoint)
    assert verify(ledger_url(tmp_path), checkpoint).hash == checkpoint.hash.hex()


@pytest.mark.sqlite
async def test_without_a_key_checkpoints_are_unavailable_and_forecasts_are_not(
    worker: object, channel: grpc.aio.Channel, tmp_path: Path
) -> None:
    predict, record_service = PredictionServiceStub(channel), RecordServiceStub(channel)
    key = tmp_path / "signing-key.pem"
    key.write_text("nonsense")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record_service.GetCheckpoint(record.GetCheckpointRequest())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "the signing key can't be used: its file has mode" in (refused.value.details() or "")
    assert str(tmp_path) not in (refused.value.details() or ""), "callers must not see the path"
    answer = await predict.Predict(prediction.PredictRequest(game_id=GAME, pattern=PATTERN, horizon=HORIZON_HALFTIME))
    assert answer.forecast.sequence == 1
    key.unlink()
    assert (await record_service.GetCheckpoint(record.GetCheckpointRequest())).checkpoint.sequence == 1
