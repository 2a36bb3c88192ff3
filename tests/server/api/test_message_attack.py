"""Messages of a megabyte of nothing: millions of empty parts, which cost more to parse than all that they ask for."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from tests.support.processes.costs import MOST_REFERENCES, cpu_seconds, reference_seconds
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_server.worker.limits import MAX_REQUEST_BYTES

LARGEST = MAX_REQUEST_BYTES - 64
SERVICE, INFER = "/dejavu.v1.PredictionService", "/inference.GRPCInferenceService/ModelInfer"


def part(number: int, content: bytes) -> bytes:
    """Returns a field with a message, a text or a packed list."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def filled(piece: bytes, size: int = LARGEST) -> bytes:
    return piece * (size // len(piece))


MESSAGES = {
    "1.5 million requests of a batch": (f"{SERVICE}/PredictBatch", filled(part(1, b""), 3_000_000)),
    "requests of a batch": (f"{SERVICE}/PredictBatch", filled(part(1, b""))),
    "requests of a batch after another field": (f"{SERVICE}/PredictBatch", b"\x78\x01" + filled(part(1, b""))),
    "requests of a batch after a group": (f"{SERVICE}/PredictBatch", b"\x7b\x7c" + filled(part(1, b""))),
    "requests of a batch of two lengths": (f"{SERVICE}/PredictBatch", filled(part(1, b"") + part(1, b"\x20\x01"))),
    "requests to warm the cache": ("/dejavu.v1.CacheService/WarmCache", filled(part(1, b""))),
    "games of a stream": (f"{SERVICE}/StreamPredictions", filled(part(1, b""))),
    "minutes of columns": (f"{SERVICE}/PredictColumns", part(2, filled(b"\x01"))),
    "minutes of columns, each a field": (f"{SERVICE}/PredictColumns", filled(b"\x10\x01")),
    "slots of columns": (f"{SERVICE}/PredictColumns", part(2, b"\x01") + part(1, filled(bytes(4)))),
    "margins of columns": (f"{SERVICE}/PredictColumns", part(2, b"\x01") + part(3, filled(bytes(8)))),
    "slots of a request": (f"{SERVICE}/Predict", part(2, filled(bytes(4)))),
    "tensors": (INFER, filled(part(5, b""))),
    "outputs": (INFER, filled(part(6, b""))),
    "raw contents": (INFER, filled(part(7, b""))),
    "parameters": (INFER, filled(part(4, b""))),
    "texts of a tensor": (INFER, part(1, b"dejavu") + part(5, part(1, b"pattern") + part(5, filled(part(8, b""))))),
    "dimensions of a tensor": (INFER, part(1, b"dejavu") + part(5, part(1, b"pattern") + part(3, filled(b"\x01")))),
}
SMALL_RUN = ("1.5 million requests of a batch", "requests of a batch", "minutes of columns", "tensors")
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedServer]:
    ledger = f"sqlite:///{tmp_path_factory.mktemp('server') / 'ledger.sqlite3'}"
    with spawned_server("--workers", "1", "--ledger", ledger, "--cache", "memory") as process:
        yield process


def refuse(channel: grpc.Channel, path: str, message: bytes) -> grpc.StatusCode:
    """Sends a message; returns how it is refused."""
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    with pytest.raises(grpc.RpcError) as caught:
        next(call(message, timeout=60))
    code: grpc.StatusCode = caught.value.code()
    return code


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
def test_millions_of_empty_parts_are_refused_before_they_are_parsed(server: SpawnedServer, times: int) -> None:
    with grpc.insecure_channel(address_of(server)) as channel:
        refuse(channel, *MESSAGES["requests of a batch"])  # makes the handlers
        for name in SMALL_RUN if times == 3 else MESSAGES:
            reference, before = reference_seconds(), cpu_seconds(server.process.pid)
            assert {refuse(channel, *MESSAGES[name]) for _ in range(times)} <= REFUSED, name
            cost = (cpu_seconds(server.process.pid) - before) / times
            assert cost < MOST_REFERENCES * reference + 0.02 / times, (name, cost, reference)
