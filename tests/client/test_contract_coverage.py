"""Every RPC has a method in both clients, every public method has an RPC, and the clients agree."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from google.protobuf.message import Message
from tests.support.contract import METHODS

from dejavu.v1 import prediction_service_pb2, record_service_pb2
from dejavu_client import AsyncDejavuClient, DejavuClient, aio, config
from dejavu_client.requests import Conditions, ModelScope, PredictOptions
from dejavu_store import stages

OF_THE_CLIENT_ALONE = {"call", "close", "stats"}
OF_THE_STANDARD_HEALTH_SERVICE = {"health"}
OF_ANOTHER_ANSWER = {"quote"}
"""A variant of predict that returns the whole response."""


def rpcs() -> set[str]:
    """Return the contract's RPCs in snake case."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower() for method in METHODS}


def public(client: type) -> dict[str, Any]:
    members = {name: member for each in client.__mro__[-2::-1] for name, member in vars(each).items()}
    return {name: member for name, member in members.items() if not name.startswith("_")}


@pytest.mark.parametrize("client", [DejavuClient, AsyncDejavuClient])
def test_every_rpc_has_a_method_and_every_method_an_rpc(client: type) -> None:
    beside = OF_THE_CLIENT_ALONE | OF_THE_STANDARD_HEALTH_SERVICE | OF_ANOTHER_ANSWER
    assert rpcs() == public(client).keys() - beside


def test_both_clients_have_the_same_methods_and_options() -> None:
    one, other = public(DejavuClient), public(AsyncDejavuClient)
    assert one.keys() == other.keys()
    for name in one.keys() - {"stats"}:
        assert inspect.signature(one[name]).parameters == inspect.signature(other[name]).parameters, name
        assert one[name].__doc__ == other[name].__doc__, name
    first, second = (inspect.signature(each.__init__).parameters for each in (DejavuClient, AsyncDejavuClient))
    assert {name: each.default for name, each in first.items()} == {name: each.default for name, each in second.items()}


def fields(message: type[Message]) -> set[str]:
    return {field.name for field in message.DESCRIPTOR.fields}


def test_every_option_of_a_request_can_be_given_to_predict() -> None:
    options = PredictOptions.__annotations__.keys() - {"explain"}
    assert options | {"pattern"} == fields(prediction_service_pb2.PredictRequest) - {"return_explanation", "markets"}


def test_every_condition_of_the_record_s_requests_can_be_given() -> None:
    listed = Conditions.__annotations__.keys() | {"page_size", "page_token", "return_explanation"}
    assert listed == fields(record_service_pb2.ListPredictionsRequest)
    assert ModelScope.__annotations__.keys() == fields(record_service_pb2.ScoreFilter)
    reported = inspect.signature(DejavuClient.report_outcome).parameters.keys() - {"self", "timeout"}
    assert reported == fields(record_service_pb2.ReportOutcomeRequest)


def test_every_call_that_may_be_made_again_is_in_the_retry_policy() -> None:
    [policy] = json.loads(config.service_config())["methodConfig"]
    names = {(name["service"], name.get("method")) for name in policy["name"]}
    for method in METHODS:
        service = method.containing_service.full_name
        covered = {(service, None), (service, method.name)} & names
        subscribes = method.server_streaming and not method.client_streaming  # the client resumes it
        assert bool(covered) != subscribes, method.full_name


def test_an_alias_of_a_model_is_one_for_client_and_server() -> None:
    """Of an alias that it does not know, a client would not send the version, and a repetition could change another."""
    assert set(stages.ALIASES) == aio.ALIASES
