"""Messages of millions of empty parts, which request no work: refusing one costs less than answering a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import spawned_server
from tests.support.programs.costs import cpu_seconds

from dejavu.inference.open_inference_pb2 import ModelInferRequest
from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, Staking
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictColumnsRequest, PredictRequest
from dejavu_server.api.converters.columns import MAX_COLUMNS, MAX_QUANTILE_VALUES
from dejavu_server.api.converters.prediction import MAX_BATCH
from dejavu_server.api.decoding import MAX_BATCH_BYTES, MAX_REQUEST_BYTES
from dejavu_server.api.inference.specification import INPUTS, MAX_ROWS

LARGEST, LARGEST_COLUMNS, LARGEST_TENSORS = MAX_BATCH_BYTES - 64, MAX_REQUEST_BYTES - 64, 768 * 1024 - 64
SERVICE, INFER = "/dejavu.v1.PredictionService", "/inference.GRPCInferenceService/ModelInfer"


def part(number: int, content: bytes) -> bytes:
    """Return a field with a message, a text or a packed list."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def filled(piece: bytes, size: int = LARGEST) -> bytes:
    return piece * (size // len(piece))


def tensors(piece: bytes, *numbers: int) -> bytes:
    """Return a request with many copies of a piece: in these fields of a tensor, or without numbers, in itself."""
    content = filled(piece, LARGEST_TENSORS)
    for number in numbers:
        content = part(number, content)
    return part(1, b"dejavu") + (part(5, part(1, b"pattern") + content) if numbers else content)


MESSAGES = {
    "1.5 million requests of a batch": (f"{SERVICE}/PredictBatch", filled(part(1, b""), 3_000_000)),
    "requests of a batch": (f"{SERVICE}/PredictBatch", filled(part(1, b""))),
    "requests of a batch of two lengths": (f"{SERVICE}/PredictBatch", filled(part(1, b"") + part(1, b"\x20\x01"))),
    "requests to warm the cache": ("/dejavu.ops.v1.CacheService/WarmCache", filled(part(1, b""))),
    "games of a stream": (f"{SERVICE}/StreamPredictions", filled(part(1, b""))),
    "minutes of columns": (f"{SERVICE}/PredictColumns", part(2, filled(b"\x01", LARGEST_COLUMNS))),
    "slots of columns": (f"{SERVICE}/PredictColumns", part(2, b"\x01") + part(1, filled(bytes(8), LARGEST_COLUMNS))),
    "slots of a request": (f"{SERVICE}/Predict", part(2, filled(bytes(8)))),
    "tensors": (INFER, tensors(part(5, b""))),
    "parameters": (INFER, tensors(part(4, b""))),
    "texts of a tensor": (INFER, tensors(part(8, b""), 5)),
    "dimensions of a tensor": (INFER, tensors(b"\x01", 3)),
}
SMALL_RUN = ("1.5 million requests of a batch", "requests of a batch", "minutes of columns", "tensors")
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


def answer(channel: grpc.Channel, path: str, message: bytes) -> grpc.StatusCode:
    """Send a message; return the code of the first answer."""
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    try:
        next(call(message, timeout=60))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
def test_refusing_millions_of_empty_parts_costs_less_than_a_full_batch(tmp_path: Path, times: int) -> None:
    """A stranger who wants to keep a worker busy has no cheaper way than the requests that it answers."""
    levels = [level / 100 for level in range(1, 100)]
    explained = (
        PredictRequest(pattern=[number % 29] * 18, return_explanation=True, quantile_levels=levels)
        for number in range(MAX_BATCH)
    )
    batch = PredictBatchRequest(requests=explained).SerializeToString()
    options = ("--workers", "1", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3", "--cache", "memory")
    with (
        spawned_server(*options) as server,
        grpc.insecure_channel(address_of(server), [("grpc.max_receive_message_length", -1)]) as channel,
    ):

        def cost(path: str, message: bytes, expected: set[grpc.StatusCode]) -> float:
            """Return the CPU seconds of a call."""
            before = cpu_seconds(server.process.pid)
            assert {answer(channel, path, message) for _ in range(times)} <= expected
            return (cpu_seconds(server.process.pid) - before) / times

        answer(channel, f"{SERVICE}/PredictBatch", batch)  # makes the handlers
        most = cost(f"{SERVICE}/PredictBatch", batch, {grpc.StatusCode.OK})
        for name in SMALL_RUN if times == 3 else MESSAGES:
            assert cost(*MESSAGES[name], REFUSED) < most, name


def largest_request() -> PredictRequest:
    """Return a request with the maximum of all its parts."""
    texts = {"home_team": "Portland Trail Blazers", "away_team": "Minnesota Timberwolves", "model_version": "v" * 64}
    numbers = {"alpha": 0.05, "pregame_margin": 3.5, "total_points": 200, "horizon": HORIZON_FINAL}
    game: Any = {"game_id": "0022300001", "game_date": "2023-01-01", **texts, **numbers}
    levels = [level / 100 for level in range(1, 100)]
    request = PredictRequest(pattern=[-12.5] * 47, return_explanation=True, quantile_levels=levels, **game)
    request.last_score.seconds = 12
    staking = Staking(**dict.fromkeys(Staking.DESCRIPTOR.fields_by_name, 0.55))
    for kind in (MARKET_KIND_LEAD, MARKET_KIND_TOTAL):
        market = request.markets.add(kind=kind, line=5.5, bankroll=1000.5, staking=staking)
        market.above.decimal = market.below.decimal = 1.91
    return request


def test_the_largest_requests_are_not_too_large() -> None:
    columns = PredictColumnsRequest(
        patterns=[1.5] * 47 * MAX_COLUMNS,
        minutes=[47] * MAX_COLUMNS,
        pregame_margins=[1.5] * MAX_COLUMNS,
        quantile_levels=[0.5] * (MAX_QUANTILE_VALUES // MAX_COLUMNS),
    )
    batch = PredictBatchRequest(requests=[largest_request()] * MAX_BATCH)
    assert batch.ByteSize() < MAX_BATCH_BYTES
    assert columns.ByteSize() < MAX_REQUEST_BYTES
    rows = ModelInferRequest(model_name="dejavu")
    rows.inputs.add(name="pattern").contents.int64_contents.extend([-200] * 47 * MAX_ROWS)
    for _ in INPUTS:
        rows.inputs.add(name="x" * 20).contents.fp64_contents.extend([0.5] * MAX_ROWS)
    assert rows.ByteSize() < LARGEST_TENSORS
