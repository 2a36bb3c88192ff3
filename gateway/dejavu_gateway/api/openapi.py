"""The description of the interface, OpenAPI 3.1, generated from the endpoints and the descriptors of messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu.v1.record_service_pb2 import GetLeaderboardRequest, ListPredictionsRequest
from dejavu_common.build import release
from dejavu_gateway.api.calls import CALLS, CallEndpoint
from dejavu_gateway.api.downloads import NOT_OF_A_FILE
from dejavu_gateway.api.inference import INFERENCE_ENDPOINTS, InferenceEndpoint
from dejavu_gateway.api.share import LAST_MINUTE
from dejavu_gateway.http.answers import JSON, PARQUET, PNG
from dejavu_gateway.live.status import StatusReason
from dejavu_gateway.messages.encode import JsonObject, descriptor_of
from dejavu_gateway.messages.fields import is_time, kind_of

_TEXT: Final[JsonObject] = {"type": "string"}
_DAY: Final[JsonObject] = {"type": "string", "format": "date"}
_NULL: Final[JsonObject] = {"type": "null"}
_GAME: Final[JsonObject] = {"type": "string", "pattern": "^[0-9]{10}$"}
_TIME: Final[JsonObject] = {"type": "string", "format": "date-time"}
_FLAG: Final[JsonObject] = {"type": "string", "enum": ["0", "1"]}

_EVENTS: Final = (
    "prediction (StreamPredictionsResponse), game (dejavu.v1.Game), priced (RecordedPrediction with the newest prices),"
    " status (Status), position (empty) or reset (Error)."
)

_TAGS: Final = {
    "Forecasts": re.compile(r"/api/(predict|predict-batch|assess-risk)$"),
    "Games": re.compile(r"/api/(games|stream|ws)|/share/"),
    "Record": re.compile(r"/api/(predictions|scorecard|leaderboard|checkpoint)"),
    "Models": re.compile(r"/api/(models|comparison|model-changes)"),
    "Open Inference Protocol": re.compile("/v2"),
    "Operations": re.compile("/"),
}
"""Group → its paths; a path belongs to the first group that has it."""

_PATTERN: Final = [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6]
_WHAT_IF: Final[JsonObject] = {"pattern": _PATTERN, "horizon": "HORIZON_FINAL", "homeTeam": "BOS", "awayTeam": "LAL"}
_EXAMPLES: Final[dict[str, JsonObject]] = {
    "/api/predict": _WHAT_IF,
    "/api/predict-batch": {"requests": [_WHAT_IF, {"pattern": _PATTERN, "horizon": "HORIZON_HALFTIME"}]},
    "/api/assess-risk": {"games": [{"pattern": _PATTERN, "totalPoints": 80}]},
}
"""Bodies to try: one made of a value for each field would be refused."""

_TENSORS: Final[JsonObject] = {
    "inputs": [{"name": "pattern", "datatype": "FP64", "shape": [2, 3], "data": [[2, -1, 4], [0, 5, None]]}],
    "outputs": [{"name": "point"}],
}
_PROTOCOL: Final = (
    "https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md"
)

_OWN_PATHS: Final = (
    ("/api/stream", "stream", "Live events, as server-sent events (Event); id: the resume token.", "text/event-stream"),
    ("/api/ws", "websocket", 'The same over a WebSocket: texts {"event", "id", "data"}.', "Event"),
    ("/api/status", "status", "How the server is.", "Status"),
    ("/api/predictions.csv", "predictionsCsv", "Recorded forecasts as CSV, newest first.", "text/csv"),
    ("/api/predictions.parquet", "predictionsParquet", "The same as parquet, where the gateway has pyarrow.", PARQUET),
    ("/api/games", "games", "The games of a day.", "Day"),
    ("/api/games/{gameId}", "game", "One game with all its forecasts.", "Game"),
    ("/share/game/{gameId}.svg", "share", "An image of a game.", "image/svg+xml"),
    ("/share/game/{gameId}.png", "sharePicture", "The same image as PNG, 1200 by 630 pixels.", PNG),
    ("/healthz", "healthz", "This process lives.", "Health"),
    ("/readyz", "readyz", "The server answers.", "Status"),
    ("/metrics", "metrics", "Prometheus metrics.", "text/plain"),
    ("/openapi.json", "openapi", "This description.", JSON),
)
"""Path, name, summary, and schema or media type of each endpoint that is no RPC's."""

_CONTENTS: Final[dict[str, JsonObject]] = {
    JSON: {"type": "object"},
    **{kind: {"type": "string", "contentMediaType": kind} for kind in (PNG, PARQUET)},
}

_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def document() -> JsonObject:
    """Return the description."""
    sent = [descriptor_of(each.described) for each in CALLS if each.method == "POST"]
    answered: list[Descriptor] = [each.rpc.output_type for each in CALLS]
    answered += [descriptor_of(each) for each in (StreamPredictionsResponse, RecordedPrediction, Outcome, Game)]
    paths: dict[str, JsonObject] = {}
    for each in CALLS:
        paths.setdefault(each.path, {})[each.method.lower()] = _call(each)
    paths |= {path: _inference(each, path) for each in INFERENCE_ENDPOINTS for path in each.paths} | _own_paths()
    for path, operations in paths.items():
        for operation in operations.values():
            operation["tags"] = [next(tag for tag, of_tag in _TAGS.items() if of_tag.match(path))]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dejavu's page",
            "version": release(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in _TAGS],
        "paths": paths,
        "components": {
            # A message that is both sent and answered has the looser schema of requests.
            "schemas": _schemas(answered, answers=True) | _schemas(sent, answers=False) | _own_schemas(),
        },
    }


def _call(endpoint: CallEndpoint) -> JsonObject:
    operation: JsonObject = {"operationId": endpoint.rpc.name, "summary": endpoint.summary}
    if endpoint.method == "POST":
        content: JsonObject = {"schema": _reference(descriptor_of(endpoint.described))}
        if endpoint.path in _EXAMPLES:
            content["example"] = _EXAMPLES[endpoint.path]
        body = {JSON: content}
        operation["requestBody"] = {"required": True, "content": body}
    else:
        operation["parameters"] = _parameters(endpoint)
    operation["responses"] = _responses(_reference(endpoint.rpc.output_type))
    return operation


def _inference(endpoint: InferenceEndpoint, path: str) -> JsonObject:
    """Return the description of an endpoint of the Open Inference Protocol, whose schemas the protocol describes."""
    responses = _responses({"type": "object"})
    responses["default"]["content"][JSON]["schema"] = _object(error=_TEXT)
    if endpoint.rpc.name.endswith("Ready"):
        responses["503"] = responses["200"] | {
            "description": "Not ready, or the server did not answer: then the error."
        }
    operation: JsonObject = {
        "operationId": f"{endpoint.rpc.name}{endpoint.paths.index(path) or ''}",
        "summary": endpoint.summary,
        "externalDocs": {"url": _PROTOCOL},
        "parameters": [_parameter(name, _TEXT, place="path") for name in _PATH_PARAMETER.findall(path)],
        "responses": responses,
    }
    if endpoint.method == "POST":
        content = {JSON: {"schema": {"type": "object"}, "example": _TENSORS}}
        operation["requestBody"] = {"required": True, "content": content}
    return {endpoint.method.lower(): operation}


def _parameters(endpoint: CallEndpoint) -> list[JsonObject]:
    in_path = set(_PATH_PARAMETER.findall(endpoint.path))
    fields = [field for field in descriptor_of(endpoint.described).fields if not field.is_repeated]
    fields += [field for field in descriptor_of(GetLeaderboardRequest).fields if field.json_name in endpoint.also]
    return [
        _parameter(
            field.json_name,
            _field_schema(field),
            place="path" if field.json_name in in_path else "query",
            required=field.json_name in endpoint.required,
        )
        for field in fields
    ]


def _parameter(name: str, schema: JsonObject, *, place: str = "query", required: bool = False) -> JsonObject:
    return {"name": name, "in": place, "required": required or place == "path", "schema": schema}


def _responses(schema: JsonObject, media_type: str = JSON) -> JsonObject:
    return {
        "200": {"description": "The answer.", "content": {media_type: {"schema": schema}}},
        "default": {
            "description": "The error: why the request was not answered.",
            "content": {JSON: {"schema": _own("Error")}},
        },
    }


def _own_paths() -> dict[str, JsonObject]:
    """Return the paths that do not belong to an RPC."""
    game = _parameter("gameId", _GAME, place="path")
    minute = _parameter("minute", {"type": "number", "minimum": 1, "maximum": LAST_MINUTE})
    resumed = [_parameter("current", _FLAG), _parameter("resume", _TEXT)]
    follow = [_parameter("game", {"type": "array", "items": _GAME}), *resumed]
    listed = (field for field in descriptor_of(ListPredictionsRequest).fields if field.name not in NOT_OF_A_FILE)
    filters = [_parameter(field.json_name, _field_schema(field)) for field in listed]
    parameters = {
        "stream": [*follow, _parameter("Last-Event-ID", _TEXT, place="header")],
        "websocket": follow,
        "predictionsCsv": filters,
        "predictionsParquet": filters,
        "games": [_parameter("date", _DAY), _parameter("includeReplays", _FLAG)],
        "game": [game],
        "share": [game, minute],
        "sharePicture": [game, minute],
    }
    found: dict[str, JsonObject] = {}
    for path, name, summary, kind in _OWN_PATHS:
        schema = _CONTENTS.get(kind, _TEXT) if "/" in kind else _own(kind)
        operation = {"operationId": name, "summary": summary, "parameters": parameters.get(name, [])}
        found[path] = {"get": {**operation, "responses": _responses(schema, kind if "/" in kind else JSON)}}
    found["/api/ws"]["get"]["responses"]["101"] = {"description": "A WebSocket."}
    ready = found["/readyz"]["get"]["responses"]
    ready["503"] = ready["200"]
    return found


def _own(name: str) -> JsonObject:
    """Return the reference to a schema that is no message's."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _own_schemas() -> dict[str, JsonObject]:
    prediction, forecast, outcome, shown = (
        _reference(descriptor_of(each)) for each in (RecordedPrediction, Forecast, Outcome, Game)
    )
    outcomes = {"type": "array", "items": outcome}
    or_none = {"anyOf": [prediction, _NULL]}
    day_or_none = {"anyOf": [_DAY, _NULL]}
    flag: JsonObject = {"type": "boolean"}
    field = _object(field=_TEXT, description=_TEXT)
    error = _object(code=_TEXT, message=_TEXT, reason=_TEXT, fields={"type": "array", "items": field}, requestId=_TEXT)
    number: JsonObject = {"type": "number"}
    point = _object(elapsedMinutes=number, lead=number, homeLeadProbability=number)
    held_or_none: JsonObject = {"anyOf": [_object(held={"type": "integer"}, of={"type": "integer"}), _NULL]}
    game = _object(
        gameId=_GAME,
        homeTeam=_TEXT,
        awayTeam=_TEXT,
        newest=_object(half=or_none, final=or_none),
        priced=or_none,
        outcomes=outcomes,
        held=_object(half=held_or_none, final=held_or_none),
        forecasts={"type": "integer"},
        course={"type": "array", "items": point},
        state={"anyOf": [shown, _NULL]},
        seen={"anyOf": [forecast, _NULL]},
    )
    return {
        "Error": _object(error=error),
        "Event": {"description": _EVENTS, **_object(event=_TEXT, id=_TEXT, data={"type": "object"})},
        "Health": _object(status=_TEXT),
        "Status": _object(
            serving=flag,
            streaming=flag,
            reason={"type": "string", "enum": [each.value for each in StatusReason]},
            message=_TEXT,
            since=_TIME,
            ledger=_object(ok=flag, message=_TEXT),
            newestEventTime={"anyOf": [_TIME, _NULL]},
            serverTime=_TIME,
            demo=flag,
            evening=_DAY,
            parquet=flag,
        ),
        "Day": _object(
            date=_DAY,
            games={"type": "array", "items": game},
            dates=_object(previous=day_or_none, next=day_or_none),
            resumeToken=_TEXT,
        ),
        "Game": _object(
            gameId=_GAME,
            predictions={"type": "array", "items": prediction},
            outcomes=outcomes,
            state={"anyOf": [shown, _NULL]},
        ),
    }


def _reference(descriptor: Descriptor) -> JsonObject:
    """Return the reference to the schema of a message."""
    return _own(descriptor.name)


def _schemas(descriptors: Iterable[Descriptor], *, answers: bool) -> dict[str, JsonObject]:
    """Return the schemas of messages and of all that they contain, by name.

    Args:
        descriptors: the messages.
        answers: True if the gateway sends the messages, in which case fields that are always present are required;
            False if browsers send them.
    """
    found: dict[str, JsonObject] = {}
    waiting = list(descriptors)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.name in found:
            continue
        found[descriptor.name] = _message(descriptor, answers=answers)
        parts = (field for field in descriptor.fields if not is_time(field))
        waiting += [field.message_type for field in parts if field.message_type is not None]
    return found


def _message(descriptor: Descriptor, *, answers: bool) -> JsonObject:
    properties = {field.json_name: _field_schema(field) for field in descriptor.fields}
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    if answers:
        schema["required"] = [f.json_name for f in descriptor.fields if f.is_repeated or not f.has_presence]
    return schema


def _field_schema(field: FieldDescriptor) -> JsonObject:
    """Return the schema of a field."""
    value = kind_of(field).schema
    if value is None and field.message_type is not None:
        value = _reference(field.message_type)
    return {"type": "array", "items": value} if field.is_repeated else value or {}
