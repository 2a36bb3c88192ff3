"""State of a stream across connections, tested without connections."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.service import event, heartbeat, result

from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_client.errors import (
    CallCancelledError,
    DejavuClientError,
    InternalError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from dejavu_client.transport.subscription import FIRST_DELAY, LONGEST_DELAY, StreamResumption


class NoJitter(random.Random):
    def random(self) -> float:
        return 1.0


def standing() -> StreamResumption:
    subscription = StreamResumption(jitter=NoJitter())
    subscription.accept(heartbeat("start"))
    return subscription


def test_attempts_come_at_growing_distances_up_to_a_longest() -> None:
    subscription = standing()
    delays = [subscription.connection_lost(UnavailableError("gone")) for _ in range(40)]
    assert delays[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert delays[-1] == LONGEST_DELAY


@pytest.mark.parametrize("error", [UnavailableError, ResourceExhaustedError])
def test_the_pause_that_the_server_asks_for_is_kept(error: type[DejavuClientError]) -> None:
    subscription = standing()
    assert subscription.connection_lost(error("later", reason="OVERLOADED", retry_after=7.0)) == 7.0
    assert subscription.connection_lost(error("later", reason="OVERLOADED", retry_after=0.01)) == 2 * FIRST_DELAY


def test_a_message_makes_the_next_attempt_quick_again() -> None:
    subscription = standing()
    for _ in range(5):
        subscription.connection_lost(UnavailableError("gone"))
    subscription.accept(heartbeat("again"))
    assert subscription.connection_lost(UnavailableError("gone")) == FIRST_DELAY


@given(st.integers(1, 30), st.integers())
def test_jitter_never_lengthens_a_wait_and_at_most_halves_it(failures: int, seed: int) -> None:
    plain, spread = standing(), StreamResumption(jitter=random.Random(seed))
    spread.accept(heartbeat("start"))
    for _ in range(failures):
        longest = plain.connection_lost(UnavailableError("gone"))
        assert longest / 2 <= spread.connection_lost(UnavailableError("gone")) <= longest


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("gone"),
        CallCancelledError("drained", code=grpc.StatusCode.CANCELLED),
        ResourceExhaustedError("too slow", reason="SUBSCRIBER_TOO_SLOW"),
        ResourceExhaustedError("overloaded", reason="OVERLOADED", retry_after=0.1),
        InternalError("Received RST_STREAM with error code 2"),
        InternalError("Received http2 header with status: 502"),
        InternalError("Stream removed", code=grpc.StatusCode.UNKNOWN),
    ],
    ids=repr,
)
def test_what_passes_leads_to_another_attempt(error: DejavuClientError) -> None:
    assert standing().connection_lost(error) == FIRST_DELAY


@pytest.mark.parametrize(
    "error",
    [
        OutOfRangeError("restored"),
        ResourceExhaustedError("message larger than max"),
        ResourceExhaustedError("enough for today", reason="CALLER_LIMIT", retry_after=3600.0),
        InternalError("internal error", reason="INTERNAL"),
        InternalError("HTTP2 in the words of a server", reason="INTERNAL"),
        UnauthenticatedError("who"),
        PermissionDeniedError("no"),
        UnimplementedError("what"),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_told(error: DejavuClientError) -> None:
    with pytest.raises(type(error)) as caught:
        standing().connection_lost(error)
    assert caught.value is error


def test_a_response_without_a_token_leaves_the_last_one() -> None:
    subscription = standing()
    subscription.accept(event(4, token=""))
    assert subscription.request().resume_token == "start"


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from([event, result])), max_size=60))
def test_the_reader_sees_rising_sequences_whatever_comes(
    sent: list[tuple[int, Callable[[int], StreamPredictionsResponse]]],
) -> None:
    subscription = StreamResumption()
    seen = [sequence for sequence, make in sent if subscription.accept(make(sequence))]
    assert seen == sorted(set(seen))
    assert seen[-1:] == ([max(sequence for sequence, _ in sent)] if sent else [])


@pytest.mark.parametrize("heartbeats", [False, True])
def test_an_event_of_a_kind_that_is_not_known_is_passed_over_and_its_token_kept(heartbeats: bool) -> None:
    subscription = StreamResumption(heartbeats=heartbeats)
    assert not subscription.accept(StreamPredictionsResponse(resume_token="later"))
    assert subscription.request().resume_token == "later"


@pytest.mark.parametrize(
    "games",
    ["0022300001", ["0022300001"], ("0022300001",), iter(["0022300001"])],
    ids=["text", "list", "tuple", "iterator"],
)
def test_one_game_may_be_named_by_itself(games: Iterable[str]) -> None:
    subscription = StreamResumption(games)
    assert list(subscription.request().game_ids) == ["0022300001"]
    assert list(subscription.request().game_ids) == ["0022300001"], "again, when it resumes"
