"""Converts the JSON of the Open Inference Protocol to its messages and back.

Malformed bodies are refused here, with the place of the error; the server validates the tensors for a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Final, NamedTuple

from dejavu.inference import open_inference_pb2 as pb
from dejavu_gateway.messages.encode import JsonObject
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

MAX_DIMENSIONS: Final = 8
MAX_TENSORS: Final = 64
"""Maximum number of inputs, outputs or parameters in one place; models have fewer."""

_SHOWN: Final = 60
_INT64: Final = (-(2**63), 2**63 - 1)
_BINARY: Final = {"binary_data_size", "binary_data", "binary_data_output"}


class _Datatype(NamedTuple):
    """Representation of the values of a datatype in a message.

    Attributes:
        field: name of the field of InferTensorContents that has the values.
        expected: the values in words.
        read: returns values in the form that the field takes; raises ValueError or OverflowError if one is not
            accepted.
    """

    field: str
    expected: str
    read: Callable[[Sequence[Any]], Sequence[Any]]


def _numbers(values: Sequence[Any]) -> Sequence[float]:
    if not {*map(type, values)} <= {int, float, NoneType}:
        raise ValueError
    return [math.nan if value is None else float(value) for value in values]


def _whole_numbers(lowest: int, highest: int) -> Callable[[Sequence[Any]], Sequence[int]]:
    def read(values: Sequence[Any]) -> Sequence[int]:
        if not (
            {*map(type, values)} <= {int} and lowest <= min(values, default=0) <= max(values, default=0) <= highest
        ):
            raise ValueError
        return values

    return read


def _texts(values: Sequence[Any]) -> Sequence[bytes]:
    if not {*map(type, values)} <= {str}:
        raise ValueError
    return [value.encode() for value in values]  # UnicodeEncodeError is a ValueError


def _integers(signed: bool, bits: int, field: str) -> _Datatype:
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return _Datatype(field, f"a whole number from {lowest} to {highest}", _whole_numbers(lowest, highest))


DATATYPES: Final = {
    "FP64": _Datatype("fp64_contents", "a number, or null for NaN", _numbers),
    "FP32": _Datatype("fp32_contents", "a number, or null for NaN", _numbers),
    **{f"INT{bits}": _integers(True, bits, "int_contents") for bits in (8, 16, 32)},
    "INT64": _integers(True, 64, "int64_contents"),
    **{f"UINT{bits}": _integers(False, bits, "uint_contents") for bits in (8, 16, 32)},
    "UINT64": _integers(False, 64, "uint64_contents"),
    "BYTES": _Datatype("bytes_contents", "a text", _texts),
}
"""Datatypes of inputs by their names. FP16 is missing: its values are sent as raw bytes, which only gRPC has."""


def infer_request(value: object, model_name: str, model_version: str) -> pb.ModelInferRequest:
    """Return the request that a body describes.

    Args:
        value: JSON data.
        model_name: name of the model, from the path.
        model_version: its version, from the path; empty if the path has none.

    Raises:
        RequestRefused: if the body is not a valid request; names the invalid place and the accepted form.
    """
    body = _object(value, "body", ("id", "parameters", "inputs", "outputs"), ("inputs",))
    request = pb.ModelInferRequest(
        model_name=_text(model_name, "the model"),
        model_version=_text(model_version, "the version"),
        id=_text(body.get("id", ""), "id"),
    )
    _add_parameters(body, "", request.parameters)
    for index, each in enumerate(_array(body["inputs"], "inputs")):
        _add_input(request, each, f"inputs[{index}]")
    for index, each in enumerate(_array(body.get("outputs", []), "outputs")):
        place = f"outputs[{index}]"
        output = _object(each, place, ("name", "parameters"), ("name",))
        requested = request.outputs.add(name=_text(output["name"], f"{place}.name"))
        _add_parameters(output, f"{place}.", requested.parameters)
    return request


def _add_input(request: pb.ModelInferRequest, value: object, place: str) -> None:
    required = ("name", "shape", "datatype", "data")
    if isinstance(value, dict) and isinstance(value.get("parameters"), dict) and _BINARY & value["parameters"].keys():
        raise binary_refused(f"{place}.parameters")  # such an input has no data in the JSON
    tensor = _object(value, place, (*required, "parameters"), required)
    name, datatype = (_text(tensor[each], f"{place}.{each}") for each in ("name", "datatype"))
    known = DATATYPES.get(datatype)
    if known is None:
        raise invalid_field(f"{place}.datatype", f"{_shown(datatype)}; expected one of {', '.join(DATATYPES)}")
    shape = _shape(tensor["shape"], f"{place}.shape")
    values = _contents(_flat(tensor["data"], shape, f"{place}.data"), known, f"{place}.data")
    added = request.inputs.add(name=name, datatype=datatype, shape=shape)
    getattr(added.contents, known.field).extend(values)
    _add_parameters(tensor, f"{place}.", added.parameters)


def _shape(value: object, place: str) -> Sequence[int]:
    shape = _array(value, place, MAX_DIMENSIONS)
    for each in shape:
        if isinstance(each, bool) or not isinstance(each, int) or not _INT64[0] <= each <= _INT64[1]:
            raise invalid_field(place, f"{_shown(each)}; expected whole numbers")
    return shape


def _flat(data: object, shape: Sequence[int], place: str) -> Sequence[object]:
    """Return the values of a tensor row after row; `data` may be nested according to its shape."""
    values = _array(data, place, None)
    if not any(isinstance(each, list) for each in values):
        return values
    for size in shape[:-1]:
        if len(values) != size or not all(isinstance(each, list) for each in values):
            raise invalid_field(
                place,
                f"the nesting does not match shape {list(shape)}; expected rows of this shape, or one flat array",
            )
        lengths = {len(each) for each in values}
        values = list(chain.from_iterable(values))
        if len(lengths) > 1:
            raise invalid_field(
                place,
                f"has rows of unequal length; expected shape {list(shape)}: fill shorter rows with null at the end",
            )
    return values


def _contents(values: Sequence[object], datatype: _Datatype, place: str) -> Sequence[Any]:
    try:
        return datatype.read(values)
    except (ValueError, OverflowError):
        index = _first_wrong(values, datatype)
        message = f"{_shown(values[index])}; expected {datatype.expected}"
        raise invalid_field(f"{place}[{index}]", message) from None


def _first_wrong(values: Sequence[object], datatype: _Datatype) -> int:
    """Return the index of the first value that does not belong to a datatype, found by bisection."""
    # Invariant: all values before index `right` belong to the datatype, at least one before index `wrong` does not.
    right, wrong = 0, len(values)
    while wrong - right > 1:
        middle = (right + wrong) // 2
        try:
            datatype.read(values[right:middle])
        except (ValueError, OverflowError):
            wrong = middle
        else:
            right = middle
    return right


def _add_parameters(owner: JsonObject, place: str, parameters: Any) -> None:
    """Add the parameters of an object to those of its message."""
    field = f"{place}parameters"
    given = owner.get("parameters", {})
    if not isinstance(given, dict):
        raise invalid_field(field, f"{_shown(given)}; expected an object")
    if len(given) > MAX_TENSORS:
        raise invalid_field(field, f"{len(given)} parameters; expected at most {MAX_TENSORS}")
    for name, value in given.items():
        if name in _BINARY:
            if value is False:
                continue
            raise binary_refused(f"{field}.{name}")
        _text(name, field)
        parameter = parameters[name]
        match value:
            case bool():
                parameter.bool_param = value
            case int() if _INT64[0] <= value <= _INT64[1]:
                parameter.int64_param = value
            case float():
                parameter.double_param = value
            case str():
                parameter.string_param = _text(value, f"{field}.{_shown(name)}")
            case _:
                description = f"{_shown(value)}; expected a number, a text, true or false"
                raise invalid_field(f"{field}.{_shown(name)}", description)


def binary_refused(place: str) -> RequestRefused:
    """Return the answer to a request of the binary tensor data extension."""
    description = (
        "the binary tensor data extension is not supported; expected tensors as JSON (tritonclient: binary_data=False "
        "for every input, and for outputs that are named), or a call by gRPC"
    )
    return invalid_field(place, description, "UNSUPPORTED_EXTENSION")


def _object(value: object, place: str, known: Sequence[str], required: Iterable[str] = ()) -> JsonObject:
    if not isinstance(value, dict):
        raise invalid_field(place, f"{_shown(value)}; expected an object")
    for name in value:
        if name not in known:
            raise invalid_field(place, f"{_shown(name)} is unknown; expected {', '.join(known)}")
    for name in required:
        if name not in value:
            raise invalid_field(place, f"no {name}; expected {', '.join(known)}")
    return value


def _array(value: object, place: str, most: int | None = MAX_TENSORS) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_field(place, f"{_shown(value)}; expected an array")
    if most is not None and len(value) > most:
        raise invalid_field(place, f"{len(value)} elements; expected at most {most}")
    return value


def _text(value: object, place: str) -> str:
    try:
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape
        raise invalid_field(
            place, "is not valid Unicode (a lone surrogate); expected a text that UTF-8 can encode"
        ) from None
    raise invalid_field(place, f"{_shown(value)}; expected a text")


def _shown(value: object) -> str:
    if isinstance(value, list | dict) and value:
        return "an array" if isinstance(value, list) else "an object"
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)[: _SHOWN + 2]
    return text.encode(errors="backslashreplace").decode()


def infer_response_body(response: pb.ModelInferResponse) -> JsonObject:
    """Return a response as JSON data; null means NaN."""
    body: JsonObject = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        body["id"] = response.id
    body["outputs"] = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": list(each.shape),
            "data": [None if math.isnan(value) else value for value in each.contents.fp64_contents],
        }
        for each in response.outputs
    ]
    return body


def server_metadata_body(response: pb.ServerMetadataResponse) -> JsonObject:
    """Return the description of the server as JSON data."""
    return {"name": response.name, "version": response.version, "extensions": list(response.extensions)}


def model_metadata_body(response: pb.ModelMetadataResponse) -> JsonObject:
    """Return the description of a model as JSON data."""

    def described(tensors: Iterable[pb.ModelMetadataResponse.TensorMetadata]) -> list[Mapping[str, Any]]:
        return [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in tensors]

    return {
        "name": response.name,
        "versions": list(response.versions),
        "platform": response.platform,
        "inputs": described(response.inputs),
        "outputs": described(response.outputs),
    }
