"""Checks of the responses of a server, which must hold for any request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import grpc
from bench.fuzz import record
from bench.fuzz.messages import (
    BATCH,
    CHECK,
    MODELS,
    NO_METHOD,
    NO_SERVICE,
    PREDICT,
    RECORD,
    REFLECTION,
    RISK,
    STREAM,
    WATCH,
    Rpc,
)
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_feed.live_inputs import from_message
from dejavu_models.types import MOST_SIMILAR

FAULTS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNAVAILABLE,
}
"""Codes that blame the server; no message may cause them."""

EXPLAINED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
}
"""Codes that the server's own code returns, always with a reason."""

TERMS_TOLERANCE = 1e-6
"""Rounding tolerance between the sum of an attribution's terms and the point forecast, in points."""

TRACES = ("Traceback", 'File "', "Error:", "Exception", "0x7f")
"""Strings that a text for a caller must not contain, because they leak internals."""


def wrong_with_status(rpc: Rpc, error: grpc.aio.AioRpcError, *, patient: bool) -> str:
    """Describe the faults of an error; empty if there are none.

    Args:
        rpc: the method called.
        error: the error of the call.
        patient: whether the call had enough time and was not cancelled.
    """
    code, text = error.code(), error.details() or ""
    if code in FAULTS or (code is grpc.StatusCode.CANCELLED and patient):
        return f"{code.name}: {text}"
    if (code is grpc.StatusCode.UNIMPLEMENTED) != (rpc in {NO_METHOD, NO_SERVICE}) and patient:
        return f"{code.name} from {rpc.path}: {text}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and patient and not rpc.streams:
        return f"no answer within the deadline: {text}"
    if any(trace in text for trace in TRACES):
        return f"internals in the text: {text}"
    if code in EXPLAINED:
        return _wrong_with_details(error)
    return ""


def _wrong_with_details(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # uses only what both kinds of error have
    if status is None:
        return f"{error.code().name} without details: {error.details()}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        # Errors with these codes are permanent, so none carries RetryInfo.
        if not (detail.Unpack(info) or detail.Unpack(bad)):
            return f"an unexpected detail: {detail.type_url}"
    if not info.reason or info.domain != "dejavu":
        return f"{error.code().name} without a reason: {error.details()}"
    return _wrong_with_violations((each.field, each.description) for each in bad.field_violations)


def _wrong_with_violations(violations: Iterable[tuple[str, str]]) -> str:
    for field, description in violations:
        if not field or "; expected " not in description:
            return f"a violation without what was expected: {field!r}: {description!r}"
    return ""


def wrong_with_answer(rpc: Rpc, request: bytes, response: bytes) -> str:
    """Describe the faults of a response; empty if there are none.

    Args:
        rpc: the method called.
        request: the request; must be a valid message of the method, because it was answered.
        response: one response.
    """
    try:
        return next(_faults(rpc, request, response), "")
    except DecodeError:
        return "the response cannot be decoded, or the server answered a request that cannot be decoded"


def _faults(rpc: Rpc, request: bytes, response: bytes) -> Iterator[str]:
    decoded = rpc.request.FromString(request)
    if rpc is PREDICT:
        assert isinstance(decoded, pb.PredictRequest)
        yield from _answer_faults(decoded, pb.PredictResponse.FromString(response))
    elif rpc is BATCH:
        assert isinstance(decoded, pb.PredictBatchRequest)
        yield from _batch_faults(decoded.requests, pb.PredictBatchResponse.FromString(response))
    elif rpc is STREAM:
        yield from _event_faults(pb.StreamPredictionsResponse.FromString(response))
    elif rpc is RISK:
        for result in pb.AssessRiskResponse.FromString(response).results:
            if result.HasField("assessment"):
                yield from _risk_faults(result.assessment)
    elif rpc in RECORD:
        yield from record.faults(decoded, response)
        for forecast in record.forecasts(decoded, response):
            yield from _forecast_faults(forecast)
    else:
        yield from _other_faults(rpc, response)


def _other_faults(rpc: Rpc, response: bytes) -> Iterator[str]:
    """Yield the faults of a response without forecasts."""
    if rpc is MODELS:
        if [model.active for model in model_service_pb2.ListModelsResponse.FromString(response).models] != [True]:
            yield "expected exactly one model, an active one"
    elif rpc in {CHECK, WATCH}:
        if health_pb2.HealthCheckResponse.FromString(response).status == health_pb2.HealthCheckResponse.NOT_SERVING:
            yield "the server reports NOT_SERVING"
    elif rpc is REFLECTION:
        message = reflection_pb2.ServerReflectionResponse.FromString(response).error_response.error_message
        if any(trace in message for trace in TRACES):
            yield f"internals in the text: {message}"
    else:
        yield "a response from a method that does not exist"


def _event_faults(event: pb.StreamPredictionsResponse) -> Iterator[str]:
    if not event.resume_token or not event.WhichOneof("event"):
        yield f"an event without a token or a payload: {event}"
    if event.HasField("forecast"):
        yield from _forecast_faults(event.forecast)


def _batch_faults(requests: Sequence[pb.PredictRequest], response: pb.PredictBatchResponse) -> Iterator[str]:
    if len(response.results) != len(requests):
        yield f"{len(response.results)} results for {len(requests)} requests"
    for request, result in zip(requests, response.results, strict=False):
        if result.HasField("forecast"):
            yield from _answer_faults(request, result)
        elif not result.error.reason or result.error.reason == "INTERNAL":
            yield f"a result that is neither a forecast nor explained: {result}"
        elif wrong := _wrong_with_violations((each.field, each.description) for each in result.error.field_violations):
            yield wrong


def _answer_faults(request: pb.PredictRequest, answer: pb.PredictResponse | pb.PredictBatchResult) -> Iterator[str]:
    forecast = answer.forecast
    if [each.kind for each in request.markets] != [each.kind for each in answer.markets]:
        yield f"a market answer that was not requested, or none: {answer}"
    for each in answer.markets:
        yield from _market_faults(each)
    if [each.level for each in forecast.quantiles] != list(request.quantile_levels):
        yield f"other quantiles than requested: {forecast}"
    if forecast.elapsed_minutes != len(request.pattern) or forecast.game_id != request.game_id:
        yield f"a forecast for another request: {forecast}"
    if request.HasField("pregame_margin") and forecast.expected_margin != request.pregame_margin:
        yield f"another margin than in the request: {forecast}"
    if request.HasField("total_points") and forecast.total_points != request.total_points:
        yield f"other total points than in the request: {forecast}"
    asked, told = (from_message(each)[0].last_score for each in (request, forecast))  # without unknown fields
    if asked != told and (asked is not None or not request.game_id):  # a recorded forecast keeps its own
        yield f"another last score than in the request: {forecast}"
    yield from _forecast_faults(forecast)


def _market_faults(market: market_pb2.MarketAnswer) -> Iterator[str]:
    numbers = [*_numbers(market), *_numbers(market.above), *_numbers(market.below)]
    if not all(map(math.isfinite, numbers)):
        yield f"a number that is not finite: {market}"
    shares = [market.push_probability, market.staking.confidence_threshold]
    for side in (market.above, market.below):
        shares += [side.win_probability, side.fair_probability, side.staking_probability]
        shares += [side.kelly_fraction, side.stake_fraction]
        if side.stake_fraction > min(market.staking.game_cap, market.staking.evening_cap):
            yield f"a stake above the caps: {market}"
        if side.expected_value <= 0 < side.stake:
            yield f"a stake on a bet without positive expected value: {market}"
    if not all(0 <= share <= 1 for share in shares):
        yield f"a share outside [0, 1]: {market}"
    total = market.above.win_probability + market.push_probability + market.below.win_probability
    if not math.isclose(total, 1, abs_tol=1e-9) or market.stake < 0:
        yield f"probabilities that do not sum to 1, or a negative stake: {market}"


def _risk_faults(answer: pb.RiskAssessment) -> Iterator[str]:
    parts = [factor.contribution for factor in answer.factors]
    if not 0 <= answer.score <= 100 or not math.isclose(sum(parts), answer.score, abs_tol=1e-6):
        yield f"a risk out of bounds, or factors that do not sum to it: {answer}"
    if not answer.level or not all(0 <= factor.score <= 100 for factor in answer.factors):
        yield f"a risk without a level, or a factor out of bounds: {answer}"


def _forecast_faults(forecast: forecast_pb2.Forecast) -> Iterator[str]:
    numbers = [*_numbers(forecast), *(each.value for each in forecast.quantiles)]
    if forecast.HasField("explanation"):
        yield from _explanation_faults(forecast)
        numbers += _numbers(forecast.explanation)
        numbers += _numbers(forecast.explanation.attribution)
        numbers += forecast.explanation.attribution.minutes
    if not all(map(math.isfinite, numbers)):
        yield f"a number that is not finite: {forecast}"
    if not forecast.interval_lower <= forecast.point_forecast <= forecast.interval_upper:
        yield f"a point forecast outside its interval: {forecast}"
    if not 0 <= forecast.home_lead_probability <= 1 or not 0 < forecast.coverage_probability < 1:
        yield f"a probability outside [0, 1]: {forecast}"
    if [each.value for each in sorted(forecast.quantiles, key=lambda each: each.level)] != sorted(
        each.value for each in forecast.quantiles
    ):
        yield f"quantiles that decrease with their level: {forecast}"
    if not forecast.model_version or bool(forecast.sequence) != bool(forecast.game_id):
        yield f"a forecast without model version or sequence: {forecast}"


def _explanation_faults(forecast: forecast_pb2.Forecast) -> Iterator[str]:
    attribution = forecast.explanation.attribution
    by_minute = [attribution.before_tipoff, *attribution.minutes, attribution.components]
    ranked = [each.points for each in forecast.explanation.contributions]
    if len(attribution.minutes) != forecast.elapsed_minutes or not all(
        math.isclose(sum(terms), forecast.point_forecast, abs_tol=TERMS_TOLERANCE) for terms in (by_minute, ranked)
    ):
        yield f"terms that do not sum to the point forecast: {forecast}"
    if ranked != sorted(ranked, key=abs, reverse=True):
        yield f"contributions that are not ranked by size: {forecast}"
    components = forecast.explanation.components
    if not all(math.isfinite(each.prediction) for each in components):
        yield f"a component's prediction that is not finite: {forecast}"
    mean = sum(each.weight * each.prediction for each in components)
    if (
        not math.isclose(sum(each.weight for each in components), 1.0)
        or any(each.weight < 0 for each in components)
        or not math.isclose(mean, forecast.point_forecast, abs_tol=TERMS_TOLERANCE)
    ):
        yield f"weights of components that do not sum to 1, or a mean that is not the point forecast: {forecast}"
    similar, summary = forecast.explanation.similar_games, forecast.explanation.similar_summary
    if not len(similar) <= min(MOST_SIMILAR, summary.games) or not math.isfinite(summary.correction):
        yield f"more similar games than counted, or a correction that is not finite: {forecast}"
    if not max(summary.home_led, summary.turned) <= summary.same_lead <= summary.games:
        yield f"more similar games of a kind than there are: {summary}"
    for game in similar:
        if not 0 <= game.distance < math.inf:
            yield f"an impossible distance: {game}"


def _numbers(message: Message) -> list[float]:
    return [value for _, value in message.ListFields() if isinstance(value, float)]
