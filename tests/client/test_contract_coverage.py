"""Every RPC has a method in both clients, every public method an RPC, and the two clients agree."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import dejavu_client
from dejavu.v1 import model_service_pb2, prediction_service_pb2
from dejavu_client import AsyncDejavuClient, DejavuClient

OF_THE_CLIENT_ALONE = {"close", "stats"}
OF_THE_STANDARD_HEALTH_SERVICE = {"health"}


def rpcs() -> set[str]:
    """The contract's RPCs, in Python's spelling."""
    services = [
        service
        for file in (prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
    ]
    names = (method.name for service in services for method in service.methods)
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in names}


def public(client: type) -> dict[str, Any]:
    return {name: member for name, member in vars(client).items() if not name.startswith("_")}


@pytest.mark.parametrize("client", [DejavuClient, AsyncDejavuClient])
def test_every_rpc_has_a_method_and_every_method_an_rpc(client: type) -> None:
    assert rpcs() == public(client).keys() - OF_THE_CLIENT_ALONE - OF_THE_STANDARD_HEALTH_SERVICE


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    one, other = public(DejavuClient), public(AsyncDejavuClient)
    assert one.keys() == other.keys()
    for name in one.keys() - {"stats"}:
        assert inspect.signature(one[name]).parameters == inspect.signature(other[name]).parameters, name
        assert one[name].__doc__ == other[name].__doc__, name


def test_both_clients_have_the_same_options() -> None:
    one, other = (inspect.signature(c.__init__).parameters for c in (DejavuClient, AsyncDejavuClient))
    assert one.keys() == other.keys()
    assert all(one[name].default == other[name].default for name in one)


def test_every_option_of_a_request_can_be_given_to_predict() -> None:
    fields = {field.name for field in prediction_service_pb2.PredictRequest.DESCRIPTOR.fields}
    parameters = inspect.signature(DejavuClient.predict).parameters.keys() - {"self", "timeout", "explain"}
    assert parameters == fields - {"return_explanation"}


def test_the_public_surface_is_this() -> None:
    assert set(dejavu_client.__all__) == {
        "FINAL",
        "HALFTIME",
        "AsyncDejavuClient",
        "CallCancelledError",
        "CallStatistics",
        "ClientClosedError",
        "DeadlineExceededError",
        "DejavuClient",
        "DejavuClientError",
        "FailedPreconditionError",
        "FieldViolation",
        "Forecast",
        "HealthStatus",
        "InternalError",
        "InvalidArgumentError",
        "MethodStatistics",
        "Model",
        "NotFoundError",
        "OutOfRangeError",
        "PermissionDeniedError",
        "PredictBatchResult",
        "PredictRequest",
        "ResourceExhaustedError",
        "StreamPredictionsResponse",
        "UnauthenticatedError",
        "UnavailableError",
        "UnimplementedError",
        "predict_request",
    }
    assert all(hasattr(dejavu_client, name) for name in dejavu_client.__all__)
