"""The REST form of the Open Inference Protocol: JSON becomes a call of the server's gRPC service, and back."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from dejavu.inference import open_inference_pb2 as pb
from dejavu_client.transport.caller import method_of
from dejavu_gateway.api.context import context_of, turn
from dejavu_gateway.http.answers import JSON
from dejavu_gateway.http.bodies import LARGE_BODY, read_body
from dejavu_gateway.messages.encode import JsonObject, descriptor_of, dump
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

FIELDS: Final = {
    **{f"{kind}{bits}": f"{kind.lower()}_contents" for kind in ("INT", "UINT") for bits in (8, 16, 32)},
    **{name: f"{name.lower()}_contents" for name in ("INT64", "UINT64", "FP32", "FP64", "BYTES")},
}
"""Field of the values, by datatype. FP16 is missing: its values are sent as raw bytes, which only gRPC has."""

_DIMENSIONS, _MOST, _SHOWN = 8, 64, 60
"""Maximum number of dimensions, of inputs, outputs or parameters in one place, and of characters of a shown value."""

_FORMS: Final = "FP: a number, or null for NaN; INT and UINT: a whole number; BYTES: a text"
_PARAMETERS: Final = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
"""Field of a parameter, by the type of its value."""

_BINARY: Final = {"binary_data_size", "binary_data", "binary_data_output"}
_BINARY_HEADER: Final = "inference-header-content-length"
_OPTIONAL: Final[JsonObject] = {"id": "", "parameters": {}, "outputs": []}


@dataclass(frozen=True, slots=True)
class InferenceEndpoint:
    """An endpoint, whose paths differ in optional parts; path parameters are fields of the request."""

    request: type[Message]
    paths: tuple[str, ...]
    summary: str

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "POST" if self.request is pb.ModelInferRequest else "GET"

    @property
    def rpc(self) -> MethodDescriptor:
        """The RPC."""
        return method_of(self.request)

    async def answer(self, request: Request) -> Response:
        """Answer a request; with status 503 if server or model is not ready. Forecasts are what-ifs."""
        context, path = context_of(request), request.path_params
        if self.method == "GET":
            body = _plain(await context.client.call(self.request(**path)))
            body = {"name": path["name"], **body} if self.request is pb.ModelReadyRequest else body
            status = HTTPStatus.OK if body.get("ready", True) else HTTPStatus.SERVICE_UNAVAILABLE
            return Response(dump(body), status, {"cache-control": "no-store"}, media_type=JSON)
        if _BINARY_HEADER in request.headers:
            raise _binary_refused(f"header {_BINARY_HEADER}")
        read = partial(infer_request, **path)
        receive = partial(read_body, request, read, LARGE_BODY, context.bodies, untyped=True)
        async with turn(request, context.what_ifs, receive) as asked:
            response = await context.client.call(asked)
            text = await asyncio.to_thread(lambda: dump(_infer_response(response)))  # browsers wait for events
            return Response(text, headers={"cache-control": "no-store"}, media_type=JSON)


def infer_request(value: object, name: str, version: str = "") -> pb.ModelInferRequest:
    """Return the request that a body describes.

    Args:
        value: JSON data.
        name: name of the model.
        version: its version; empty for the default one.

    Raises:
        RequestRefused: if the body is not a valid request; names the wrong place and what was expected there.
    """
    body = {**_OPTIONAL, **_members(value, "body", ("inputs",), tuple(_OPTIONAL))}
    request = pb.ModelInferRequest()
    for field, text in (("model_name", name), ("model_version", version), ("id", body["id"])):
        _put(request, field, text, field)
    _put_parameters(request, body, "")
    for index, each in enumerate(_array(body["inputs"], "inputs", _MOST)):
        _put_input(request.inputs.add(), each, f"inputs[{index}]")
    for index, each in enumerate(_array(body["outputs"], "outputs", _MOST)):
        place, output = f"outputs[{index}]", request.outputs.add()
        given = _members(each, place, ("name",), ("parameters",))
        _put(output, "name", given["name"], f"{place}.name")
        _put_parameters(output, given, f"{place}.")
    return request


def _put_input(tensor: Any, value: object, place: str) -> None:
    given = _members(value, place, ("name", "shape", "datatype", "data"), ("parameters",))
    for name in ("name", "datatype"):
        _put(tensor, name, given[name], f"{place}.{name}")
    shape = _array(given["shape"], f"{place}.shape", _DIMENSIONS)
    try:
        tensor.shape.extend(shape)
    except (TypeError, ValueError):
        raise invalid_field(f"{place}.shape", f"{_shown(shape)}; expected whole numbers") from None
    if tensor.datatype not in FIELDS:
        raise invalid_field(f"{place}.datatype", f"{_shown(tensor.datatype)}; expected one of {', '.join(FIELDS)}")
    contents, read = getattr(tensor.contents, FIELDS[tensor.datatype]), _READ[tensor.datatype.rstrip("0123456789")]
    for index, each in enumerate(_flat(_array(given["data"], f"{place}.data"), shape, f"{place}.data")):
        try:
            contents.append(read(each))
        except (TypeError, ValueError, OverflowError):
            expected = f"{_shown(each)}; expected a value of datatype {tensor.datatype} ({_FORMS})"
            raise invalid_field(f"{place}.data[{index}]", expected) from None
    _put_parameters(tensor, given, f"{place}.")


def _flat(values: Sequence[Any], shape: Sequence[int], place: str) -> Sequence[Any]:
    """Return the values of a tensor row after row; they may be nested as its shape says."""
    for size in shape[:-1] if any(isinstance(each, list) for each in values) else ():
        rows = [each for each in values if isinstance(each, list)]
        if not len(values) == len(rows) == size or len({*map(len, rows)}) > 1:
            expected = "expected rows of this shape, filled with null at the end, or one flat array"
            raise invalid_field(place, f"the nesting does not match shape {[*shape]}; {expected}")
        values = list(chain.from_iterable(rows))
    return values


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # protobuf takes it as 0 or 1
        raise TypeError
    return math.nan if value is None else value


def _bytes(value: Any) -> bytes:
    return str.encode(value)  # a TypeError unless it is a text


_READ: Final = {"FP": _number, "INT": lambda value: value, "UINT": lambda value: value, "BYTES": _bytes}


def _put(message: Message, field: str, text: object, place: str) -> None:
    try:
        setattr(message, field, text)
    except (TypeError, ValueError):  # also half of a surrogate pair, which JSON can escape
        raise invalid_field(place, f"{_shown(text)}; expected a text that UTF-8 can encode") from None


def _put_parameters(message: Any, owner: JsonObject, place: str) -> None:
    """Add the parameters of an object to those of its message."""
    given = owner.get("parameters", {})
    if not isinstance(given, dict) or len(given) > _MOST:
        raise invalid_field(f"{place}parameters", f"expected an object with at most {_MOST} members")
    for name, value in given.items():
        if name in _BINARY and value is not False:
            raise _binary_refused(f"{place}parameters.{name}")
        field = _PARAMETERS.get(type(value))
        try:
            if name not in _BINARY:
                setattr(message.parameters[name], field or "", value)
        except (AttributeError, ValueError):
            expected = f"{_shown(value)}; expected a number, a text, true or false"
            raise invalid_field(f"{place}parameters.{_shown(name)}", expected) from None


def _binary_refused(place: str) -> RequestRefused:
    """Return the answer to a request of the binary tensor data extension."""
    description = (
        "the binary tensor data extension is not supported; expected tensors as JSON (tritonclient: binary_data=False "
        "for every input, and for outputs that are named), or a call by gRPC"
    )
    return invalid_field(place, description, "UNSUPPORTED_EXTENSION")


def _members(value: object, place: str, required: Sequence[str], optional: Sequence[str]) -> JsonObject:
    expected = f"expected an object with {', '.join(required)}, and as needed {', '.join(optional)}"
    if not isinstance(value, dict):
        raise invalid_field(place, f"{_shown(value)}; {expected}")
    for name in (*value, *required):
        if name not in value or name not in (*required, *optional):
            raise invalid_field(place, f"{_shown(name)} is {'unknown' if name in value else 'missing'}; {expected}")
    return value


def _array(value: object, place: str, most: int = sys.maxsize) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_field(place, f"{_shown(value)}; expected an array")
    if len(value) > most:
        raise invalid_field(place, f"{len(value)} elements; expected at most {most}")
    return value


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | None) or not value else f"a {type(value).__name__}"
    return text[:_SHOWN].encode(errors="backslashreplace").decode()


def _plain(message: Message) -> JsonObject:
    """Return a message as JSON data with its own names, without maps, which the REST form does not have."""
    values = ((field.name, getattr(message, field.name)) for field in descriptor_of(message).fields)
    return {name: _plain_value(value) for name, value in values if not isinstance(value, Mapping)}


def _plain_value(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    return [_plain(each) if isinstance(each, Message) else each for each in value]


def _infer_response(response: pb.ModelInferResponse) -> JsonObject:
    """Return forecasts as JSON data; null is NaN."""
    body: JsonObject = {"model_name": response.model_name, "model_version": response.model_version}
    body["outputs"] = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": list(each.shape),
            "data": [None if math.isnan(value) else value for value in each.contents.fp64_contents],
        }
        for each in response.outputs
    ]
    return body | ({"id": response.id} if response.id else {})


_MODEL: Final = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")

INFERENCE_ENDPOINTS: Final = (
    InferenceEndpoint(pb.ServerMetadataRequest, ("/v2", "/v2/"), "Name and version of the server."),
    InferenceEndpoint(pb.ServerLiveRequest, ("/v2/health/live",), "The server answers."),
    InferenceEndpoint(pb.ServerReadyRequest, ("/v2/health/ready",), "The server may be asked."),
    InferenceEndpoint(pb.ModelMetadataRequest, _MODEL, "Versions and tensors of a model."),
    InferenceEndpoint(pb.ModelReadyRequest, tuple(f"{each}/ready" for each in _MODEL), "The model may be asked."),
    InferenceEndpoint(pb.ModelInferRequest, tuple(f"{each}/infer" for each in _MODEL), "Forecast games; what-ifs."),
)
