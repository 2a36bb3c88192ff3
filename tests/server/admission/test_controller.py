"""The controller admits each kind of call up to its own limit, and every refusal has its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu.ops.v1 import lease_service_pb2
from dejavu.v1 import model_service_pb2, prediction_service_pb2, record_service_pb2
from dejavu_server.access.policy import CallKind, kind_of
from dejavu_server.admission.controller import AdmissionController, Permit, call_limits
from dejavu_server.admission.refusals import Overloaded

SERVICES = [
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    record_service_pb2.DESCRIPTOR.services_by_name["RecordService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
    lease_service_pb2.DESCRIPTOR.services_by_name["LeaseService"],
]
METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
HEALTH = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
PREDICT = "/dejavu.v1.PredictionService/Predict"
PREDICT_BATCH = "/dejavu.v1.PredictionService/PredictBatch"


@given(st.lists(st.tuples(st.sampled_from([*METHODS, HEALTH, ""]), st.booleans()), max_size=300))
def test_each_kind_has_its_own_limit_and_a_permit_counts_once(calls: list[tuple[str, bool]]) -> None:
    controller = AdmissionController(call_limits(2, 3), clock=lambda: 0.0)
    held: list[tuple[CallKind, Permit]] = []
    for method, ends in calls:
        answer = controller.admit(method, 1.0)
        kind = kind_of(method)
        if isinstance(answer, Permit):
            held.append((kind, answer))
        else:
            assert isinstance(answer, Overloaded)
            assert kind.value in str(answer)
        if ends and held:
            _, permit = held.pop()
            permit.release()
            permit.release()  # a second time is nothing
            assert permit.is_released
        assert {each: controller.in_progress(each) for each in CallKind if controller.in_progress(each)} == Counter(
            kind for kind, _ in held
        )


def test_full_rooms_for_forecasts_and_streams_leave_that_of_health() -> None:
    controller = AdmissionController(call_limits(1, 1), clock=lambda: 0.0)
    refused = set()
    for _ in range(50):
        for method in (*METHODS, *[WATCH, REFLECTION] * 20):  # one for each connection of a client of several servers
            if not isinstance(controller.admit(method, None), Permit):
                refused.add(kind_of(method))
        assert isinstance(controller.admit(HEALTH, None), Permit)
    assert refused == set(CallKind) - {CallKind.CONTROL, CallKind.WATCH, CallKind.REFLECTION}


def test_calls_make_room_for_callers_with_as_many_calls_or_fewer() -> None:
    controller = AdmissionController(call_limits(64, 8), clock=lambda: 0.0)
    busy = [controller.admit(PREDICT_BATCH, None, caller="busy") for _ in range(11)]
    held = [controller.admit(PREDICT_BATCH, None, caller="slow"), *busy]
    permits = [permit for permit in held if isinstance(permit, Permit)]
    assert len(permits) == len(held)

    def ending(caller: str) -> set[str]:
        """Return whose calls another call of a caller may end."""
        found: set[str] = set()

        def look(_: CallKind, may_end: Callable[[Permit], bool]) -> bool:
            found.update(permit.caller for permit in permits if may_end(permit))
            return False

        while isinstance(controller.admit(PREDICT_BATCH, None, look, caller), Permit):
            pass
        return found

    assert ending("busy") == {"busy"}
    assert ending("slow") == {"busy", "slow"}


@pytest.mark.parametrize(
    ("method", "most"),
    [
        (PREDICT_BATCH, 1),
        ("/dejavu.v1.RecordService/ListPredictions", 16),
        ("/dejavu.v1.RecordService/ReportOutcome", 4),
        ("/dejavu.ops.v1.LeaseService/AcquireLease", 4),
    ],
)
def test_a_caller_with_few_calls_has_places_that_callers_with_many_cannot_take(method: str, most: int) -> None:
    controller = AdmissionController(call_limits(64, 8), clock=lambda: 0.0)
    held = [controller.admit(method, None, caller=f"busy {number % 5}") for number in range(1000)]
    taken = [permit for permit in held if isinstance(permit, Permit)]
    own = [controller.admit(method, None, caller="idle") for _ in range(100)]
    few = [permit for permit in own if isinstance(permit, Permit)]
    assert len(few) == most
    for permit in (*taken, *few):
        permit.release()
    again = [controller.admit(method, None, caller=f"busy {number % 5}") for number in range(1000)]
    assert sum(isinstance(permit, Permit) for permit in again) == len(taken)


def test_a_caller_with_many_forecasts_leaves_places_to_one_with_few_once_its_burst_is_over() -> None:
    """The forecasts of one caller, which wait for a busy database, would otherwise keep out those of all others."""
    now = 0.0
    controller = AdmissionController(call_limits(64, 8), clock=lambda: now)

    def admitted(caller: str, calls: int) -> list[Permit]:
        answers = [controller.admit(PREDICT, None, caller=caller) for _ in range(calls)]
        return [each for each in answers if isinstance(each, Permit)]

    bursting = admitted("busy", 1000)
    assert len(bursting) == 3 * 64
    now += 0.5
    assert not admitted("idle", 1)
    for permit in bursting:
        permit.release()
    assert len(admitted("busy", 1000)) == 64, "as many as before, since the reserve comes on top"
    assert len(admitted("idle", 1000)) == 5
    assert len(admitted("other", 1000)) == 5
