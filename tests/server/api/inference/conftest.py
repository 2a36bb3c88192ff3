from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub

if TYPE_CHECKING:
    from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceAsyncStub


@pytest.fixture
def inference(channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub:
    return GRPCInferenceServiceStub(channel)
