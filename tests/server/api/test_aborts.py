"""Calls that are refused leave nothing behind, without garbage collection."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import refusal

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import DejavuError

SERVICE = "/dejavu.v1.PredictionService"
REFUSED = {
    "a message that cannot be read": (f"{SERVICE}/Predict", b"\xff"),
    "invalid fields": (f"{SERVICE}/Predict", pb.PredictRequest(alpha=-1.0, home_team="x").SerializeToString()),
    "a stream of no game": (
        f"{SERVICE}/StreamPredictions",
        pb.StreamPredictionsRequest(game_ids=["x"]).SerializeToString(),
    ),
}


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(*kinds: type) -> int:
    """Return the number of objects of some types."""
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())  # isinstance would ask proxies


async def left_behind(before: int, *kinds: type) -> int:
    """Return how many objects there are more than before, once the server has left its last calls.

    It leaves them after it has answered.
    """
    deadline = time.monotonic() + 10.0
    while (more := kept(*kinds) - before) > 0 and time.monotonic() < deadline:  # noqa: ASYNC110 - objects give no signal
        await asyncio.sleep(0.01)
    return more


@pytest.mark.usefixtures("without_collection")
@pytest.mark.parametrize("case", REFUSED)
async def test_nothing_is_kept_of_a_refused_call(case: str, channel: grpc.aio.Channel) -> None:
    path, body = REFUSED[case]
    call: Any = (channel.unary_stream if path.endswith("StreamPredictions") else channel.unary_unary)(path)
    kinds = (DejavuError, grpc.aio.AbortError, pb.PredictRequest, pb.PredictBatchRequest)
    before = kept(*kinds)
    for _ in range(20):
        answer = call(body)
        refused = await refusal(answer if hasattr(answer, "__await__") else answer.read())
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert await left_behind(before, *kinds) <= 0
