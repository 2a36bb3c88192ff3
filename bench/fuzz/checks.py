"""Checks of the responses of a server, which must hold for any request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grpc
from bench.fuzz.messages import NO_METHOD, NO_SERVICE, Rpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2, record_pb2, scorecard_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2 as record_service_pb
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

SHARES = {
    *("home_lead_probability", "win_probability", "fair_probability", "staking_probability", "push_probability"),
    *("kelly_fraction", "stake_fraction", "confidence_threshold", "coverage", "ece", "brier", "max_drawdown"),
}
"""Names of the fields that are shares or probabilities."""

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
    return _wrong_with_violations(bad.field_violations)


def _wrong_with_violations(violations: Iterable[Any]) -> str:
    for each in violations:
        if not each.field or "; expected " not in each.description:
            return f"a violation without what was expected: {each.field!r}: {each.description!r}"
    return ""


def wrong_with_answer(rpc: Rpc, request: bytes, response: bytes) -> str:
    """Describe the faults of a response; empty if there are none.

    Args:
        rpc: the method called.
        request: the request; must be a valid message of the method, because it was answered.
        response: one response.
    """
    if rpc in {NO_METHOD, NO_SERVICE}:
        return "a response from a method that does not exist"
    try:
        asked, answer = rpc.request.FromString(request), rpc.response.FromString(response)
    except DecodeError:
        return "the response cannot be decoded, or the server answered a request that cannot be decoded"
    faults = [*_own_faults(asked, answer)]
    for part in _messages(answer):
        faults += [*_number_faults(part), *PARTS.get(type(part), lambda _: ())(part)]
    return f"{faults[0]}: {answer}" if faults else ""


def _messages(message: Message) -> Iterator[Message]:
    """Yield a message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _number_faults(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.cpp_type in {field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT}:
            numbers = value if field.is_repeated else [value]
            if not all(map(math.isfinite, numbers)):
                yield f"{field.name} is not finite"
            if field.name in SHARES and not all(0 <= each <= 1 for each in numbers):
                yield f"{field.name} is outside [0, 1]"


def _event_faults(event: pb.StreamPredictionsResponse) -> Iterator[str]:
    if not event.resume_token or not event.WhichOneof("event"):
        yield "an event without a token or a payload"


def _market_faults(market: market_pb2.MarketAnswer) -> Iterator[str]:
    total = market.above.win_probability + market.push_probability + market.below.win_probability
    if not math.isclose(total, 1, abs_tol=1e-9) or market.stake < 0:
        yield "probabilities that do not sum to 1, or a negative stake"
    for side in (market.above, market.below):
        if side.stake_fraction > min(market.staking.game_cap, market.staking.evening_cap):
            yield "a stake above the caps"
        if side.expected_value <= 0 < side.stake:
            yield "a stake on a bet without positive expected value"


def _risk_faults(risk: pb.RiskAssessment) -> Iterator[str]:
    parts = [factor.contribution for factor in risk.factors]
    if not 0 <= risk.score <= 100 or not math.isclose(sum(parts), risk.score, abs_tol=1e-6):
        yield "a risk out of bounds, or factors that do not sum to it"
    if not risk.level or not all(0 <= factor.score <= 100 for factor in risk.factors):
        yield "a risk without a level, or a factor out of bounds"


def _recorded_faults(recorded: record_pb2.RecordedPrediction) -> Iterator[str]:
    if recorded.HasField("outcome") != recorded.HasField("settlement"):
        yield "a forecast that is half settled"
    error = recorded.forecast.point_forecast - recorded.outcome.differential
    if recorded.HasField("settlement") and not math.isclose(recorded.settlement.error, error):
        yield "an impossible settlement"


def _scorecard_faults(card: scorecard_pb2.Scorecard) -> Iterator[str]:
    figures = (card.mae, card.persistence_mae, card.mae_difference, card.crps, card.brier)
    ends = [(each.lower, each.value, each.upper) for each in figures if each.HasField("lower")]
    ends += [(each.lower, each.coverage, each.upper) for each in card.coverage]
    if not all(lower <= value <= upper for lower, value, upper in ends) or card.games > card.forecasts:
        yield "a figure outside its interval, or games without forecasts"


def _own_faults(asked: Message, answer: Any) -> Iterator[str]:
    """Yield what is wrong with a response as an answer to its request."""
    match asked:
        case pb.PredictRequest():
            yield from _answer_faults(asked, answer)
        case pb.PredictBatchRequest():
            yield from _batch_faults(asked.requests, answer)
        case model_service_pb2.ListModelsRequest():
            if [model.active for model in answer.models] != [True]:
                yield "expected exactly one model, an active one"
        case health_pb2.HealthCheckRequest():
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                yield "the server reports NOT_SERVING"
        case reflection_pb2.ServerReflectionRequest():
            if any(trace in answer.error_response.error_message for trace in TRACES):
                yield "internals in the text"
        case _:
            yield from _record_faults(asked, answer)


def _record_faults(asked: Message, answer: Any) -> Iterator[str]:
    match asked:
        case record_service_pb.ReportOutcomeRequest():
            told = answer.outcome
            if (told.game_id, told.differential) != (asked.game_id, asked.differential) or not told.sequence:
                yield "an outcome that was not reported, or without a sequence"
        case record_service_pb.GetPredictionRequest():
            yield from _revision_faults(asked, answer)
        case record_service_pb.ListPredictionsRequest():
            yield from _list_faults(asked, answer)
        case record_service_pb.GetLeaderboardRequest():
            if [row.value for row in answer.rows] != sorted(row.value for row in answer.rows):
                yield "model versions that are not in order"
        case record_service_pb.GetCheckpointRequest():
            signed = answer.checkpoint
            if [*map(len, (signed.hash, signed.public_key, signed.signature))] != [32, 32, 64]:
                yield "an incomplete checkpoint"


def _batch_faults(requests: Sequence[pb.PredictRequest], response: pb.PredictBatchResponse) -> Iterator[str]:
    if len(response.results) != len(requests):
        yield f"{len(response.results)} results for {len(requests)} requests"
    for request, result in zip(requests, response.results, strict=False):
        if result.HasField("forecast"):
            yield from _answer_faults(request, result)
        elif not result.error.reason or result.error.reason == "INTERNAL":
            yield "a result that is neither a forecast nor explained"
        elif wrong := _wrong_with_violations(result.error.field_violations):
            yield wrong


def _answer_faults(request: pb.PredictRequest, answer: pb.PredictResponse | pb.PredictBatchResult) -> Iterator[str]:
    forecast = answer.forecast
    if [each.kind for each in request.markets] != [each.kind for each in answer.markets]:
        yield "a market answer that was not requested, or none"
    if [each.level for each in forecast.quantiles] != list(request.quantile_levels):
        yield "other quantiles than requested"
    if forecast.elapsed_minutes != len(request.pattern) or forecast.game_id != request.game_id:
        yield "a forecast for another request"
    if request.HasField("pregame_margin") and forecast.expected_margin != request.pregame_margin:
        yield "another margin than in the request"
    if request.HasField("total_points") and forecast.total_points != request.total_points:
        yield "other total points than in the request"
    asked, told = (from_message(each)[0].last_score for each in (request, forecast))  # without unknown fields
    if asked != told and (asked is not None or not request.game_id):  # a recorded forecast keeps its own
        yield "another last score than in the request"


def _revision_faults(
    request: record_service_pb.GetPredictionRequest, answer: record_service_pb.GetPredictionResponse
) -> Iterator[str]:
    others = [each.forecast.revision for each in answer.revisions]
    revisions = sorted([*answer.revisions, answer.prediction], key=lambda each: each.forecast.revision)
    if others != sorted(others) or [each.forecast.revision for each in revisions] != list(range(len(revisions))):
        yield "revisions that are out of order or incomplete"
    # A late forecast supersedes nothing; it is the current one only if all are late.
    in_time = [not each.forecast.late for each in revisions]
    if answer.prediction != max(revisions, key=lambda each: (not each.forecast.late, each.forecast.revision)):
        yield "another revision than the one that stands"
    if [each.superseded for each in revisions] != [any(in_time[later:]) for later in range(1, len(revisions) + 1)]:
        yield "a wrong superseded flag"
    if {each.forecast.game_id for each in revisions} != {request.game_id}:
        yield "a forecast for another request"


def _list_faults(
    request: record_service_pb.ListPredictionsRequest, answer: record_service_pb.ListPredictionsResponse
) -> Iterator[str]:
    if len(answer.predictions) > (request.page_size or 50):
        yield f"a page of {len(answer.predictions)} forecasts; {request.page_size} requested"
    sequences = [each.forecast.sequence for each in answer.predictions]
    if not request.from_date and not request.to_date and sequences != sorted(set(sequences), reverse=True):
        yield "a page that is not in order"
    for each in answer.predictions:
        if each.forecast.HasField("explanation") != request.return_explanation:
            yield "an explanation that was not requested, or none"
        if request.game_id and each.forecast.game_id != request.game_id:
            yield "a forecast that was not requested"


def _forecast_faults(forecast: forecast_pb2.Forecast) -> Iterator[str]:
    if not forecast.interval_lower <= forecast.point_forecast <= forecast.interval_upper:
        yield "a point forecast outside its interval"
    if not 0 < forecast.coverage_probability < 1:
        yield "a coverage probability outside of (0, 1)"
    if [each.value for each in sorted(forecast.quantiles, key=lambda each: each.level)] != sorted(
        each.value for each in forecast.quantiles
    ):
        yield "quantiles that decrease with their level"
    if not forecast.model_version or bool(forecast.sequence) != bool(forecast.game_id):
        yield "a forecast without model version or sequence"
    if forecast.HasField("explanation"):
        yield from _explanation_faults(forecast.explanation, forecast)


def _explanation_faults(explanation: forecast_pb2.Explanation, forecast: forecast_pb2.Forecast) -> Iterator[str]:
    by_minute = explanation.attribution
    ranked = [each.points for each in explanation.contributions]
    sums = (
        sum((by_minute.before_tipoff, *by_minute.minutes, by_minute.components)),
        sum(ranked),
        sum(each.weight * each.prediction for each in explanation.components),
    )
    if not all(math.isclose(each, forecast.point_forecast, abs_tol=TERMS_TOLERANCE) for each in sums):
        yield "terms that do not sum to the point forecast"
    if len(by_minute.minutes) != forecast.elapsed_minutes or ranked != sorted(ranked, key=abs, reverse=True):
        yield "terms of other minutes, or contributions that are not ranked by size"
    weights = [each.weight for each in explanation.components]
    if not math.isclose(sum(weights), 1.0) or min(weights) < 0:
        yield "weights of components that do not sum to 1"
    similar, summary = explanation.similar_games, explanation.similar_summary
    if len(similar) > min(MOST_SIMILAR, summary.games) or any(each.distance < 0 for each in similar):
        yield "more similar games than counted, or an impossible distance"
    if not max(summary.home_led, summary.turned) <= summary.same_lead <= summary.games:
        yield "more similar games of a kind than there are"


PARTS: dict[type[Message], Callable[[Any], Iterator[str]]] = {
    forecast_pb2.Forecast: _forecast_faults,
    market_pb2.MarketAnswer: _market_faults,
    pb.RiskAssessment: _risk_faults,
    pb.StreamPredictionsResponse: _event_faults,
    record_pb2.RecordedPrediction: _recorded_faults,
    scorecard_pb2.Scorecard: _scorecard_faults,
}
"""Checks of messages, wherever they are in a response."""
