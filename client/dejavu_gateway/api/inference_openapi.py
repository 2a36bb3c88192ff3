"""The Open Inference Protocol's part of the interface description."""

from __future__ import annotations

import re
from typing import Final

from dejavu_gateway.api.inference import INFERENCE_ENDPOINTS, InferenceEndpoint
from dejavu_gateway.messages.encode import JsonObject
from dejavu_gateway.messages.tensors import DATATYPES

_TEXT: Final[JsonObject] = {"type": "string"}
_FLAG: Final[JsonObject] = {"type": "boolean"}
_TEXTS: Final[JsonObject] = {"type": "array", "items": _TEXT}
_SHAPE: Final[JsonObject] = {"type": "array", "items": {"type": "integer"}}
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")

_ANSWERS: Final = {
    "ServerMetadata": "InferenceServer",
    "ServerLive": "InferenceLive",
    "ServerReady": "InferenceReady",
    "ModelReady": "InferenceModelReady",
    "ModelMetadata": "InferenceModel",
    "ModelInfer": "InferResponse",
}
"""Names of the schemas of answers, by RPC."""

_EXAMPLE: Final[JsonObject] = {
    "inputs": [{"name": "pattern", "datatype": "FP64", "shape": [2, 3], "data": [[2, -1, 4], [0, 5, None]]}],
    "outputs": [{"name": "point"}],
}


def inference_paths() -> dict[str, JsonObject]:
    """Return the descriptions of the endpoints, by path."""
    return {path: _operation(each, path) for each in INFERENCE_ENDPOINTS for path in each.paths}


def _operation(endpoint: InferenceEndpoint, path: str) -> JsonObject:
    place = endpoint.paths.index(path)
    success = {"description": "The answer.", "content": _json(_ANSWERS[endpoint.name])}
    responses = {
        "200": success,
        "default": {"description": "The error: why the request was not answered.", "content": _json("InferenceError")},
    }
    if endpoint.name in {"ServerReady", "ModelReady"}:
        responses["503"] = {
            "description": "The server or the model is not ready, or the server did not answer.",
            "content": {
                "application/json": {"schema": {"anyOf": [_named(_ANSWERS[endpoint.name]), _named("InferenceError")]}}
            },
        }
    operation: JsonObject = {
        "operationId": endpoint.name if place == 0 else f"{endpoint.name}{place + 1}",
        "summary": endpoint.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PATH_PARAMETER.findall(path)
        ],
        "responses": responses,
    }
    if endpoint.method == "POST":
        content = {"application/json": {**_json("InferRequest")["application/json"], "example": _EXAMPLE}}
        operation["requestBody"] = {"required": True, "content": content}
    return {endpoint.method.lower(): operation}


def _named(schema: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: str) -> JsonObject:
    return {"application/json": {"schema": _named(schema)}}


def _object(required: dict[str, JsonObject], **optional: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def inference_schemas() -> dict[str, JsonObject]:
    """Return the schemas to which the endpoints refer."""
    tensor = {"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE}
    value: JsonObject = {"type": ["number", "string", "null"]}
    data: JsonObject = {"type": "array", "items": {"anyOf": [value, {"type": "array", "items": value}]}}
    numbers: JsonObject = {"type": "array", "items": {"type": ["number", "null"]}}
    parameters: JsonObject = {"type": "object", "additionalProperties": {"type": ["number", "string", "boolean"]}}
    sent = tensor | {"datatype": {"type": "string", "enum": list(DATATYPES)}, "data": data}
    tensors = {"type": "array", "items": _object(tensor)}
    return {
        "InferenceError": _object({"error": _TEXT}),
        "InferenceServer": _object({"name": _TEXT, "version": _TEXT, "extensions": _TEXTS}),
        "InferenceLive": _object({"live": _FLAG}),
        "InferenceReady": _object({"ready": _FLAG}),
        "InferenceModelReady": _object({"name": _TEXT, "ready": _FLAG}),
        "InferenceModel": _object(
            {"name": _TEXT, "versions": _TEXTS, "platform": _TEXT, "inputs": tensors, "outputs": tensors}
        ),
        "InferRequest": _object(
            {"inputs": {"type": "array", "items": _object(sent, parameters=parameters)}},
            id=_TEXT,
            parameters=parameters,
            outputs={"type": "array", "items": _object({"name": _TEXT}, parameters=parameters)},
        ),
        "InferResponse": _object(
            {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "outputs": {"type": "array", "items": _object(tensor | {"data": numbers})},
            },
            id=_TEXT,
        ),
    }
