"""RPCs as JSON endpoints: each one only translates the request and the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest
from dejavu.v1.record_service_pb2 import GetLeaderboardRequest, GetScorecardRequest, ScoreFilter
from dejavu_gateway import upstream
from dejavu_gateway.api.context import GatewayContext, asking, context_of, in_line
from dejavu_gateway.http.answers import json_response
from dejavu_gateway.http.bodies import LARGE_BODY, SMALL_BODY, read_message
from dejavu_gateway.messages.decode import from_query
from dejavu_gateway.messages.encode import to_json
from dejavu_gateway.messages.errors import RequestRefused, invalid_field
from dejavu_gateway.upstream import Rpc

_IN_THREAD: Final = {"ListPredictions", "PredictBatch", "GetPrediction", "ListModelChanges"}
"""RPCs whose responses may be large: they are converted in a thread, or browsers would wait for their events."""


@dataclass(frozen=True, slots=True)
class CallEndpoint:
    """A JSON endpoint of an RPC.

    Attributes:
        method: HTTP method: GET takes the request as query parameters, POST as its body.
        path: the path; a part in braces is the field of that name.
        rpc: the RPC.
        summary: summary of the RPC, for the description of the interface.
        parameters: message whose fields are the query parameters; the request itself by default.
        complete: makes the request from the message of `parameters` and the further parameters.
        also: names of the further parameters.
        required: names of the query parameters that the server requires.
        check: refuses requests that this gateway does not pass on.
        max_bytes: maximum size of the body.
    """

    method: str
    path: str
    rpc: Rpc[Any, Any]
    summary: str
    parameters: type[Message] | None = None
    complete: Callable[[Any, dict[str, str]], Message] | None = None
    also: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    check: Callable[[GatewayContext, Any], None] | None = None
    max_bytes: int = SMALL_BODY

    @property
    def described(self) -> type[Message]:
        """The message whose fields are the parameters, or the body."""
        return self.parameters or self.rpc.request

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        if self.method == "POST":
            with in_line(request):
                return await self._ask(
                    request, await read_message(request, self.described, self.max_bytes, context_of(request).bodies)
                )
        path_parameters = [(name, str(value)) for name, value in request.path_params.items()]
        parameters = [*request.query_params.multi_items(), *path_parameters]
        message, others = from_query(parameters, self.described, self.also)
        return await self._ask(request, message if self.complete is None else self.complete(message, others))

    async def _ask(self, request: Request, message: Message) -> Response:
        context = context_of(request)
        if self.check is not None:
            self.check(context, message)
        async with asking(request):
            response = await context.client.call(self.rpc, message)
            if self.rpc.name in _IN_THREAD:
                return await json_response(request, await asyncio.to_thread(to_json, response))
            return await json_response(request, to_json(response))


def _what_if_only(context: GatewayContext, request: PredictRequest) -> None:
    """Refuse a request that would record a forecast.

    Raises:
        RequestRefused: if the request would record a forecast, and the gateway does not allow it.
    """
    if request.game_id and not context.settings.allow_record:
        raise _recording_refused("gameId")


def _what_ifs_only(context: GatewayContext, batch: PredictBatchRequest) -> None:
    for index, request in enumerate(batch.requests):
        if request.game_id and not context.settings.allow_record:
            raise _recording_refused(f"requests[{index}].gameId")


def _recording_refused(field: str) -> RequestRefused:
    message = f"{field}: this page asks what-ifs only and records nothing; leave the game id out"
    return RequestRefused(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", message, "RECORDING_NOT_ALLOWED")


def _scored(
    request: type[GetScorecardRequest | GetLeaderboardRequest], filter_: ScoreFilter, others: dict[str, str]
) -> Message:
    further, _ = from_query(list(others.items()), request)
    if further.HasField("filter"):
        raise invalid_field("filter", "give the fields of the filter themselves")
    further.filter.CopyFrom(filter_)
    return further


CALLS: Final = (
    CallEndpoint("POST", "/api/predict", upstream.PREDICT, "Forecast one game; a what-if.", check=_what_if_only),
    CallEndpoint(
        "POST",
        "/api/predict-batch",
        upstream.PREDICT_BATCH,
        "Forecast many games; what-ifs.",
        check=_what_ifs_only,
        max_bytes=LARGE_BODY,
    ),
    CallEndpoint(
        "POST", "/api/assess-risk", upstream.ASSESS_RISK, "Assess how volatile games are.", max_bytes=LARGE_BODY
    ),
    CallEndpoint("GET", "/api/predictions", upstream.LIST_PREDICTIONS, "List recorded forecasts, newest first."),
    CallEndpoint(
        "GET",
        "/api/predictions/{gameId}",
        upstream.GET_PREDICTION,
        "The latest forecast of a game.",
        required=("horizon",),
    ),
    CallEndpoint(
        "GET",
        "/api/scorecard",
        upstream.GET_SCORECARD,
        "Scores of settled forecasts beside persistence.",
        ScoreFilter,
        partial(_scored, GetScorecardRequest),
        also=("limit", "maxBets"),
        required=("horizon",),
    ),
    CallEndpoint(
        "GET",
        "/api/leaderboard",
        upstream.GET_LEADERBOARD,
        "Model versions, best first.",
        ScoreFilter,
        partial(_scored, GetLeaderboardRequest),
        also=("metric", "minGames", "limit"),
        required=("horizon", "metric"),
    ),
    CallEndpoint("GET", "/api/models", upstream.LIST_MODELS, "The models, the active one first."),
    CallEndpoint("GET", "/api/models/{modelVersion}", upstream.GET_MODEL, "A model, and which workers have it loaded."),
    CallEndpoint(
        "GET",
        "/api/comparison",
        upstream.COMPARE_MODELS,
        "Two models on the same games; by default the challenger and the champion.",
        required=("horizon",),
    ),
    CallEndpoint("GET", "/api/model-changes", upstream.LIST_MODEL_CHANGES, "Changes of models, newest first."),
    CallEndpoint("GET", "/api/stats", upstream.GET_SERVICE_STATS, "Activity of the servers of this ledger."),
    CallEndpoint("GET", "/api/checkpoint", upstream.GET_CHECKPOINT, "The signed head of the ledger."),
)
