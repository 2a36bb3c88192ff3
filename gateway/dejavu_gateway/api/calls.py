"""RPCs as JSON endpoints: each one only translates the request and the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from dejavu.ops.v1.operations_service_pb2 import GetServiceStatsRequest
from dejavu.v1.model_service_pb2 import (
    CompareModelsRequest,
    GetModelRequest,
    ListModelChangesRequest,
    ListModelsRequest,
)
from dejavu.v1.prediction_service_pb2 import AssessRiskRequest, PredictBatchRequest, PredictRequest
from dejavu.v1.record_service_pb2 import (
    GetCheckpointRequest,
    GetLeaderboardRequest,
    GetPredictionRequest,
    GetScorecardRequest,
    ListPredictionsRequest,
    ScoreFilter,
)
from dejavu_client.config import SCORES_TIMEOUT
from dejavu_client.transport.caller import method_of
from dejavu_gateway.api.context import context_of, is_foreign, turn
from dejavu_gateway.api.games import LIST_TIMEOUT
from dejavu_gateway.http.answers import json_response
from dejavu_gateway.http.bodies import LARGE_BODY, SMALL_BODY, read_body
from dejavu_gateway.messages.decode import from_json, from_query
from dejavu_gateway.messages.encode import to_json
from dejavu_gateway.messages.errors import RequestRefused, invalid_field


@dataclass(frozen=True, slots=True)
class CallEndpoint:
    """A JSON endpoint of an RPC.

    Attributes:
        method: HTTP method: GET takes the request as query parameters, POST as its body.
        path: the path; a part in braces is the field of that name.
        request: type of the request.
        summary: summary of the RPC, for the description of the interface.
        parameters: message whose fields are the query parameters; the request itself by default.
        complete: makes the request from the message of `parameters` and the further parameters.
        also: names of the further parameters.
        required: names of the query parameters that the server requires.
        max_bytes: maximum size of the body.
        timeout: deadline of the call in seconds; None for the client's.
    """

    method: str
    path: str
    request: type[Message]
    summary: str
    parameters: type[Message] | None = None
    complete: Callable[[Any, dict[str, str]], Message] | None = None
    also: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    max_bytes: int = SMALL_BODY
    timeout: float | None = None

    @property
    def described(self) -> type[Message]:
        """The message whose fields are the parameters, or the body."""
        return self.parameters or self.request

    @property
    def rpc(self) -> MethodDescriptor:
        """The RPC."""
        return method_of(self.request)

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        context = context_of(request)
        if self.method == "POST":
            receive = partial(read_body, request, self._read, self.max_bytes, context.bodies)
            async with turn(request, context.what_ifs, receive) as message:
                _check_what_ifs(request, message)
                return await self._ask(request, message)
        path_parameters = [(name, str(value)) for name, value in request.path_params.items()]
        parameters = [*request.query_params.multi_items(), *path_parameters]
        message, others = from_query(parameters, self.described, self.also)
        async with turn(request, context.reads):
            return await self._ask(request, message if self.complete is None else self.complete(message, others))

    def _read(self, value: object) -> Message:
        return from_json(value, self.described)

    async def _ask(self, request: Request, message: Message) -> Response:
        response = await context_of(request).client.call(message, timeout=self.timeout)
        # Some are large: converted here, they would make browsers wait for their events.
        return await json_response(request, await asyncio.to_thread(to_json, response))


def _check_what_ifs(request: Request, message: Any) -> None:
    """Refuse a request that would record a forecast, unless the gateway allows it to its own page.

    Raises:
        RequestRefused: if a forecast has a game id.
    """
    if context_of(request).settings.allow_record and not is_foreign(request):
        return
    batch = isinstance(message, PredictBatchRequest)
    for index, each in enumerate(message.requests if batch else [message]):
        if isinstance(each, PredictRequest) and each.game_id:
            field = f"requests[{index}].gameId" if batch else "gameId"
            text = f"{field}: this page asks what-ifs only and records nothing; leave the game id out"
            raise RequestRefused("RECORDING_NOT_ALLOWED", text)


def _scored(
    request: type[GetScorecardRequest | GetLeaderboardRequest], filter_: ScoreFilter, others: dict[str, str]
) -> Message:
    further, _ = from_query(list(others.items()), request)
    if further.HasField("filter"):
        raise invalid_field("filter", "give the fields of the filter themselves")
    further.filter.CopyFrom(filter_)
    return further


CALLS: Final = (
    CallEndpoint("POST", "/api/predict", PredictRequest, "Forecast one game; a what-if."),
    CallEndpoint(
        "POST",
        "/api/predict-batch",
        PredictBatchRequest,
        "Forecast many games; what-ifs.",
        max_bytes=LARGE_BODY,
        timeout=30,
    ),
    CallEndpoint("POST", "/api/assess-risk", AssessRiskRequest, "Assess how volatile games are.", max_bytes=LARGE_BODY),
    CallEndpoint(
        "GET",
        "/api/predictions",
        ListPredictionsRequest,
        "List recorded forecasts, newest first.",
        timeout=LIST_TIMEOUT,
    ),
    CallEndpoint(
        "GET",
        "/api/predictions/{gameId}",
        GetPredictionRequest,
        "The latest forecast of a game.",
        required=("horizon",),
    ),
    CallEndpoint(
        "GET",
        "/api/scorecard",
        GetScorecardRequest,
        "Scores of settled forecasts beside persistence.",
        ScoreFilter,
        partial(_scored, GetScorecardRequest),
        also=("limit", "maxBets"),
        required=("horizon",),
        timeout=SCORES_TIMEOUT,
    ),
    CallEndpoint(
        "GET",
        "/api/leaderboard",
        GetLeaderboardRequest,
        "Model versions, best first.",
        ScoreFilter,
        partial(_scored, GetLeaderboardRequest),
        also=("metric", "minGames", "limit"),
        required=("horizon", "metric"),
        timeout=SCORES_TIMEOUT,
    ),
    CallEndpoint("GET", "/api/models", ListModelsRequest, "The models, the active one first."),
    CallEndpoint("GET", "/api/models/{modelVersion}", GetModelRequest, "A model, and which workers have it loaded."),
    CallEndpoint(
        "GET",
        "/api/comparison",
        CompareModelsRequest,
        "Two models on the same games; by default the challenger and the champion.",
        required=("horizon",),
        timeout=SCORES_TIMEOUT,
    ),
    CallEndpoint("GET", "/api/model-changes", ListModelChangesRequest, "Changes of models, newest first."),
    CallEndpoint("GET", "/api/stats", GetServiceStatsRequest, "Activity of the servers of this ledger."),
    CallEndpoint("GET", "/api/checkpoint", GetCheckpointRequest, "The signed head of the ledger."),
)
