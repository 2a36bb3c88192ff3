"""How often clients repeat requests to a server that fails or refuses them: attempts are counted at a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.clients import AnyClient

from dejavu_client import ResourceExhaustedError
from dejavu_client.errors import DejavuClientError, UnavailableError
from dejavu_client.transport.retry_budget import BURST, SHARE, RetryBudget, failover_pause, repeat_pause

MakeClient = Callable[..., AnyClient]
PATTERN = [0.0, 2.0, -3.0]
OVERLOADED = Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded", "OVERLOADED", retry_after=0.01)
UNAVAILABLE = Abort(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "1"),))


@given(
    st.lists(st.booleans(), max_size=400),
    st.floats(0.0, 0.5, allow_subnormal=False),
    st.floats(0.0, 20.0, allow_subnormal=False),
)
def test_never_more_repetitions_than_the_burst_and_a_share_of_the_calls(
    steps: list[bool], share: float, burst: float
) -> None:
    budget, calls, repeated = RetryBudget(share, burst), 0, 0
    for is_call in steps:
        if is_call:
            budget.deposit()
            calls += 1
        else:
            repeated += budget.withdraw()
    assert repeated <= burst + share * calls + 1e-9


async def fail(client: AnyClient, calls: int) -> int:
    """Make calls, many at a time; return how many failed."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
    results = await asyncio.gather(*(client.call("predict", PATTERN) for _ in range(calls)), return_exceptions=True)
    assert all(isinstance(each, DejavuClientError) for each in results if isinstance(each, BaseException))
    return sum(isinstance(each, BaseException) for each in results)


@pytest.mark.parametrize("refusal", [UNAVAILABLE, OVERLOADED], ids=["fails", "refuses"])
async def test_a_server_that_fails_every_call_gets_a_tenth_more_than_the_calls(
    server: FakeServer, connect: MakeClient, refusal: Abort
) -> None:
    server.answers("Predict", *[refusal] * 5000)
    client = connect(timeout=60.0)
    first, calls = round(BURST) + 100, 100
    assert await fail(client, first) == first
    spent = len(server.of("Predict"))
    assert spent > first, "at first requests are repeated"
    assert await fail(client, calls) == calls
    # gRPC throttles by connection, and on a slow machine the client replaces one that seems silent.
    assert len(server.of("Predict")) - spent <= (1.0 + SHARE) * calls + BURST


async def test_an_overloaded_server_is_asked_again_after_the_pause_it_asks_for(
    server: FakeServer, connect: MakeClient
) -> None:
    for refusal in (
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded", "OVERLOADED", retry_after=0.3),
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded", trailers=(("grpc-retry-pushback-ms", "300"),)),
    ):
        server.calls.clear()
        server.answers("Predict", refusal)
        start = time.monotonic()
        assert (await connect(timeout=60.0).call("predict", PATTERN)).elapsed_minutes == 3
        assert time.monotonic() - start >= 0.3
        assert len(server.of("Predict")) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no pause", "OVERLOADED"),
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "not at all", trailers=(("grpc-retry-pushback-ms", "-1"),)),
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "nonsense", trailers=(("grpc-retry-pushback-ms", "soon"),)),
        Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "tomorrow", "CALLER_LIMIT", retry_after=86_400.0),
    ],
    ids=lambda refusal: refusal.message,
)
async def test_a_refusal_without_a_pause_before_the_deadline_is_reported_at_once(
    server: FakeServer, connect: MakeClient, refusal: Abort
) -> None:
    server.answers("Predict", refusal)
    with pytest.raises(ResourceExhaustedError, match=refusal.message):
        await connect(timeout=60.0).call("predict", PATTERN)
    assert len(server.of("Predict")) == 1


@given(st.floats(0.001, 100.0), st.floats(0.001, 100.0))
def test_the_pause_is_at_least_what_is_asked_for_and_ends_before_the_deadline(asked: float, left: float) -> None:
    pause = repeat_pause(ResourceExhaustedError("later", retry_after=asked), left)
    assert pause is None or asked <= pause < left
    assert pause is not None or 1.5 * asked >= left


@given(st.floats(0.001, 100.0), st.integers(0, 10))
def test_no_server_is_asked_again_earlier_than_it_asked(asked: float, repeated: int) -> None:
    pause = failover_pause(UnavailableError("away", retry_after=asked), 1e6, repeated, other=False)
    assert pause is not None
    assert pause >= asked
