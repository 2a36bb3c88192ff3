"""Invalid requests over real connections: status code, reason, and enough detail to fix the request."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest
from google.rpc import code_pb2
from tests.server.api.invalid_requests import (
    ACCEPTED,
    BAD_REQUESTS,
    BATCH,
    OF_PREDICT,
    PREDICT,
    RISK,
    STREAM,
    BadRequest,
    good,
)
from tests.support.builders.calls import GAME, PATTERN, Refusal, details
from tests.support.processes.servers import running_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, LastScore
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds, Staking


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A connection to a worker with the shipped bundle."""
    with (
        running_worker(tmp_path_factory.mktemp("server"), shipped=True) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield channel


def answer(channel: grpc.Channel, path: str, body: bytes, **options: Any) -> bytes:
    """Return the first response of a method, unary or streaming: on the wire, both send one request."""
    opened: Any = channel.unary_stream(path)
    call = opened(body, **{"timeout": 60, **options})
    try:
        return cast("bytes", next(call))
    finally:
        call.cancel()


def refused(channel: grpc.Channel, path: str, body: bytes, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        answer(channel, path, body, **options)
    return caught.value


def refusal(channel: grpc.Channel, path: str, body: bytes) -> Refusal:
    return details(cast("grpc.aio.AioRpcError", refused(channel, path, body)))


def batch_of(channel: grpc.Channel, bodies: list[bytes]) -> list[pb.PredictBatchResult]:
    requests = [pb.PredictRequest.FromString(body) for body in bodies]
    body = pb.PredictBatchRequest(requests=requests).SerializeToString()
    return list(pb.PredictBatchResponse.FromString(answer(channel, BATCH, body)).results)


def test_the_table_covers_every_field_of_a_request() -> None:
    named = {row.field.partition("[")[0].partition(".")[0] for row in OF_PREDICT}
    assert named == set(pb.PredictRequest.DESCRIPTOR.fields_by_name) - {"return_explanation", "neutral_site"}
    of_market = {row.field.split(".")[1] for row in OF_PREDICT if row.field.startswith("markets[0].")}
    assert of_market == set(Market.DESCRIPTOR.fields_by_name)
    of_risk = {row.field.partition("[")[0] for row in BAD_REQUESTS if row.path == RISK} - {""}
    assert of_risk == set(pb.AssessRiskRequest.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("row", BAD_REQUESTS, ids=lambda row: row.name)
def test_a_bad_request_is_refused_with_the_field_its_value_and_what_was_expected(
    channel: grpc.Channel, row: BadRequest
) -> None:
    refused = refusal(channel, row.path, row.body)
    assert (refused.code, refused.reason, refused.domain) == (row.code, row.reason, "dejavu")
    if not row.field:  # undecodable bytes, so no field: check the message
        assert refused.violations == {}
        assert row.found in refused.message
        assert row.expected in refused.message
        return
    [(field, description)] = refused.violations.items()
    assert field == refused.metadata["field"] == row.field
    found, _, expected = description.partition("; expected ")
    assert row.found in found
    assert row.expected in expected
    assert refused.message.startswith(f"{field}: ")


def test_in_a_batch_each_bad_request_fails_as_it_would_by_itself(channel: grpc.Channel) -> None:
    rows = [row for row in OF_PREDICT if len(row.body) < 1000]
    for row, result in zip(rows, batch_of(channel, [row.body for row in rows]), strict=True):
        alone = refusal(channel, row.path, row.body)
        error = result.error
        assert (error.code, error.reason) == (code_pb2.Code.Value(alone.code.name), alone.reason)
        assert error.message == alone.message
        assert {each.field: each.description for each in error.field_violations} == alone.violations


def test_all_fields_that_are_wrong_are_named_at_once_alone_and_in_a_batch(channel: grpc.Channel) -> None:
    wrong = pb.PredictRequest(
        game_id="nope",
        pattern=[*PATTERN[:-2], math.nan, math.inf],
        alpha=2.0,
        total_points=501,  # which is not compared with a pattern that is refused
        last_score=LastScore(seconds=5000),
        horizon=cast("Any", 7),
        home_team="x" * 33,
        away_team="\U000e0001" * 6,
        pregame_margin=math.inf,
        quantile_levels=[0.5, 1.0],
        model_version="nope",  # checked only if all other fields are valid
        markets=[
            Market(
                kind=MARKET_KIND_LEAD,
                line=math.nan,
                above=Odds(decimal=1.0),
                below=Odds(american=50),
                bankroll=-1.0,
                staking=Staking(game_cap=2.0),
            ),
            Market(line=math.nan, above=Odds(decimal=2.0)),
        ],
    )
    alone = refusal(channel, PREDICT, wrong.SerializeToString())
    assert (alone.reason, alone.metadata["field"]) == ("INVALID_GAME_ID", "game_id")
    assert alone.violations["total_points"] == "501; expected 0 to 500"
    fields = ["game_id", "pattern[16]", "horizon", "home_team", "away_team", "last_score.side", "total_points"]
    of_market = ("below.american", "staking.game_cap", "line", "above.decimal", "bankroll")
    fields += (f"markets[0].{field}" for field in of_market)
    fields += ["markets[1].kind", "markets[1].below", "alpha", "pregame_margin", "quantile_levels[1]"]
    assert list(alone.violations) == fields
    assert all("; expected " in description for description in alone.violations.values())
    [result] = batch_of(channel, [wrong.SerializeToString()])
    assert {each.field: each.description for each in result.error.field_violations} == alone.violations


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_looks_odd_and_breaks_no_rule_is_answered(channel: grpc.Channel, name: str) -> None:
    path, body = ACCEPTED[name]
    assert answer(channel, path, body)


def test_a_message_of_more_than_four_mebibytes_or_metadata_without_measure_is_not_taken(channel: grpc.Channel) -> None:
    for path in (PREDICT, STREAM):
        large = refused(channel, path, bytes(4 * 2**20 + 1))
        long = refused(channel, path, b"", metadata=[("x-request-id", "x" * 100_000)])
        assert {large.code(), long.code()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_nothing_that_was_refused_is_recorded(channel: grpc.Channel) -> None:
    for row in OF_PREDICT:
        named = pb.PredictRequest.FromString(row.body)
        if not named.game_id:
            named.game_id = GAME
            refused(channel, PREDICT, named.SerializeToString())
    response = answer(channel, PREDICT, good(game_id=GAME, horizon=HORIZON_HALFTIME).SerializeToString())
    assert pb.PredictResponse.FromString(response).forecast.sequence == 1
