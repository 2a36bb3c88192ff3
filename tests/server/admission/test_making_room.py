"""The choice of calls without requests that make room for another, on permits of a controller."""

from __future__ import annotations

import pytest

from dejavu_server.admission.concurrency import Shortage
from dejavu_server.admission.controller import (
    PATIENCE_SECONDS,
    AdmissionController,
    CallKind,
    Permit,
    batch_limit,
    call_limits,
)
from dejavu_server.admission.making_room import (
    CROWDED_PATIENCE_SECONDS,
    MANY_WITHOUT_REQUEST,
    Abandoned,
    calls_to_end,
)

PREDICT = "/dejavu.v1.PredictionService/Predict"
PREDICT_BATCH = "/dejavu.v1.PredictionService/PredictBatch"
PLACES = 64
BATCHES = batch_limit(PLACES)


class Calls:
    """Calls in progress, some of them without a request.

    Attributes:
        now: the time in seconds.
        ended: callers of the calls that ended to make room.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.ended: list[str] = []
        self._controller = AdmissionController(call_limits(PLACES, 8), clock=lambda: self.now)
        self._without_request: list[Permit] = []
        self.abandoned = Abandoned()

    def fit(self, method: str, caller: str, number: int, *, complete: bool = False) -> int:
        """Make calls that wait for their requests, or are complete at once; return how many were admitted."""
        permits = [self._controller.admit(method, None, self._make_room, caller) for _ in range(number)]
        admitted = [permit for permit in permits if isinstance(permit, Permit)]
        if not complete:
            self._without_request += admitted
            for permit in admitted:
                permit.await_request()
        return len(admitted)

    def complete(self, caller: str) -> None:
        """Send the requests of a caller, and answer them."""
        for permit in [each for each in self._without_request if each.caller == caller]:
            self._without_request.remove(permit)
            self.abandoned.clear(caller)
            permit.release()

    def _make_room(self, _: CallKind, shortage: Shortage) -> bool:
        ends = calls_to_end(self._without_request, shortage, self.now, self.abandoned)
        for permit in ends:
            self._without_request.remove(permit)
            self.ended.append(permit.caller)
            self.abandoned.add(permit.caller)
            permit.release()
        return bool(ends)


@pytest.mark.parametrize("each", [5, 6, 8])
def test_uploads_of_callers_with_few_calls_are_not_ended_for_callers_who_have_their_share(each: int) -> None:
    calls = Calls()
    busy = [f"busy {number}" for number in range(2)]
    for number in range(3):
        assert calls.fit(PREDICT_BATCH, f"slow {number}", 1)
    calls.now += PATIENCE_SECONDS
    admitted = sum(calls.fit(PREDICT_BATCH, caller, 1, complete=True) for caller in busy * each)
    assert admitted == BATCHES - BATCHES // 4 - 3
    assert not calls.ended


def test_no_call_ends_if_those_that_may_end_are_too_few() -> None:
    calls = Calls()
    assert calls.fit(PREDICT_BATCH, "busy", BATCHES - BATCHES // 4 - 2, complete=True)
    assert calls.fit(PREDICT_BATCH, "slow", 2)
    assert [calls.fit(PREDICT_BATCH, f"few {number}", 1, complete=True) for number in range(3)] == [1] * 3
    calls.now += PATIENCE_SECONDS
    assert not calls.fit(PREDICT_BATCH, "busy", 1)  # without both slow ones, one too many would be in progress
    assert not calls.ended


def test_a_caller_who_has_its_share_gets_places_of_callers_who_have_more_and_send_headers_only() -> None:
    calls = Calls()
    assert calls.fit(PREDICT_BATCH, "honest", 1, complete=True)
    assert calls.fit(PREDICT_BATCH, "headers", BATCHES) < BATCHES
    calls.now += PATIENCE_SECONDS
    assert calls.fit(PREDICT_BATCH, "honest", 3, complete=True) == 3
    assert calls.ended == ["headers"] * 3


@pytest.mark.parametrize("each", [2, MANY_WITHOUT_REQUEST - 1])
def test_headers_of_any_number_of_callers_who_have_a_few_each_keep_nobody_from_a_forecast(each: int) -> None:
    """However young they are: such callers would otherwise hold all places by turns."""
    calls = Calls()
    assert sum(calls.fit(PREDICT, f"headers {number}", each) for number in range(PLACES)) == each * PLACES
    assert calls.fit(PREDICT, "honest", 10, complete=True) == 10
    assert all(caller.startswith("headers") for caller in calls.ended)


@pytest.mark.parametrize(("complete", "ends"), [(0, 3), (BATCHES // 2 - 1, 1), (BATCHES // 2, 0)])
def test_headers_of_any_number_of_callers_with_one_call_each_hold_most_places_briefly(complete: int, ends: int) -> None:
    """They could otherwise renew them in time; up to half of the places are left to slow uploads."""
    calls = Calls()
    for number in range(BATCHES):
        calls.abandoned.add(f"caller {number}")
    for number in range(BATCHES):
        assert calls.fit(PREDICT_BATCH, f"caller {number}", 1, complete=number < complete)
    assert not calls.fit(PREDICT_BATCH, "honest", 1, complete=True)
    calls.now += 2 * CROWDED_PATIENCE_SECONDS
    assert sum(calls.fit(PREDICT_BATCH, f"honest {number}", 1, complete=True) for number in range(3)) == ends
    assert calls.ended == [f"caller {complete + number}" for number in range(ends)]


def test_a_request_that_takes_longer_than_its_headers_is_not_ended_for_callers_that_abandon_theirs() -> None:
    calls = Calls()
    for _ in range(4):  # until each of them has abandoned one
        for number in range(2 * BATCHES):
            calls.fit(PREDICT_BATCH, f"headers {number}", 1)
        calls.now += PATIENCE_SECONDS + 0.001
    for _ in range(8):
        assert calls.fit(PREDICT_BATCH, "slow", 1)
        for number in range(2 * BATCHES):
            calls.fit(PREDICT_BATCH, f"headers {number}", 1)
        calls.now += PATIENCE_SECONDS / 2
        assert "slow" not in calls.ended
        calls.complete("slow")


def test_the_callers_that_have_abandoned_the_most_make_room_first() -> None:
    calls, places = Calls(), BATCHES
    for number in range(places):
        assert calls.fit(PREDICT_BATCH, f"caller {number}", 1)
    for _ in range(2):
        calls.abandoned.add("caller 7")
    calls.abandoned.add("caller 3")
    calls.now += PATIENCE_SECONDS
    assert calls.fit(PREDICT_BATCH, "few", 1, complete=True)
    assert calls.fit(PREDICT_BATCH, "few too", 1, complete=True)
    assert calls.fit(PREDICT_BATCH, "others", 1, complete=True)
    assert calls.ended == ["caller 7", "caller 3", "caller 0"]


def test_the_only_call_of_a_caller_keeps_its_place_while_it_is_young() -> None:
    calls = Calls()
    assert calls.fit(PREDICT, "slow", 1)
    for number in range(2 * PLACES):
        calls.fit(PREDICT, f"headers {number}", 2)
    assert calls.fit(PREDICT, "honest", 1, complete=True)
    assert "slow" not in calls.ended


def test_calls_whose_requests_are_not_yet_awaited_are_not_crowded_out() -> None:
    """A busy worker begins late to read them."""
    controller = AdmissionController(call_limits(PLACES, 8), clock=lambda: 0.0)
    permits = [controller.admit(PREDICT, None, caller=f"{number % 16}") for number in range(PLACES)]
    admitted = [permit for permit in permits if isinstance(permit, Permit)]
    shortage = Shortage(1, PLACES, lambda _: True)
    assert not calls_to_end(admitted, shortage, 0.0, Abandoned())
    for permit in admitted:
        permit.await_request()
    assert calls_to_end(admitted, shortage, 0.0, Abandoned()) == admitted[:1]
