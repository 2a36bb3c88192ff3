"""Converts the contents of tensors, typed or raw, to values and back.

Shapes come from callers. They are bounded and compared with the size of the contents before anything is read or
allocated, so a tensor costs no more than the bytes that were sent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu_feed.horizon import MAX_SLOTS
from dejavu_models.errors import quoted
from dejavu_models.forecast_query import MAX_QUANTILES
from dejavu_server.api.inference.specification import (
    INPUTS,
    LEVELS,
    MAX_ROWS,
    PATTERN,
    TEXT,
    InvalidParameter,
    InvalidTensor,
)

TENSOR_PARAMETERS: Final = ("content_type",)
"""Parameters of an input that are accepted and change nothing; MLServer's clients send them."""

_LENGTH: Final = struct.Struct("<I")
_MAX_DIMENSIONS: Final = 2


class _Datatype(NamedTuple):
    """Representation of a numeric datatype: raw form, and field of typed contents (none for FP16)."""

    raw: str
    field: str


_NUMERIC: Final = {
    "FP64": _Datatype("<f8", "fp64_contents"),
    "FP32": _Datatype("<f4", "fp32_contents"),
    "FP16": _Datatype("<f2", ""),
    "INT8": _Datatype("<i1", "int_contents"),
    "INT16": _Datatype("<i2", "int_contents"),
    "INT32": _Datatype("<i4", "int_contents"),
    "INT64": _Datatype("<i8", "int64_contents"),
    "UINT8": _Datatype("<u1", "uint_contents"),
    "UINT16": _Datatype("<u2", "uint_contents"),
    "UINT32": _Datatype("<u4", "uint_contents"),
    "UINT64": _Datatype("<u8", "uint64_contents"),
}


class Tensors(NamedTuple):
    """The inputs of a request.

    Attributes:
        values: values of the inputs by name: texts, or whole numbers or floats of 64 bits, in their shape.
        rows: number of rows.
        raw: whether the contents were raw.
    """

    values: Mapping[str, Any]
    rows: int
    raw: bool


def read_inputs(request: pb.ModelInferRequest) -> Tensors:
    """Read the inputs of a request.

    Raises:
        InvalidTensor, InvalidParameter: if one is missing, unknown, given twice or malformed; names the tensor.
    """
    inputs, raw = request.inputs, request.raw_input_contents
    if raw and len(raw) != len(inputs):
        found, expected = f"{len(raw)} contents", f"{len(inputs)}, one for each input, or none"
        raise InvalidTensor(found, expected, field="raw_input_contents")
    values: dict[str, NDArray[Any] | Sequence[str]] = {}
    rows = _rows(inputs)
    for index, tensor in enumerate(inputs):
        name = tensor.name
        if name not in INPUTS:
            raise InvalidTensor(quoted(name), f"one of {', '.join(INPUTS)}", field=f"inputs[{index}].name")
        if name in values:
            raise InvalidTensor(f"{name!r} again", "each input once", field=f"inputs[{index}].name")
        if raw and tensor.HasField("contents"):
            raise InvalidTensor("contents beside raw_input_contents", "one of them", field=f"{name}.contents")
        check_parameters(tensor.parameters, TENSOR_PARAMETERS, f"{name}.parameters")
        shape = _shape(tensor, rows)
        data = raw[index] if raw else None
        read = _read_texts if INPUTS[name].datatype == TEXT else _read_numbers
        values[name] = read(tensor, shape, data)
    return Tensors(values, rows, bool(raw))


def check_parameters(given: Mapping[str, pb.InferParameter], known: Sequence[str], field: str) -> None:
    """Raise InvalidParameter, naming the field, if a parameter is not one of the known ones."""
    for name in given:
        if name not in known:
            expected = " or ".join(known) if known else "no parameters"
            raise InvalidParameter(quoted(name), expected, field)


def _rows(inputs: Sequence[pb.ModelInferRequest.InferInputTensor]) -> int:
    """Return the number of rows, which is that of the pattern; raise InvalidTensor if its shape is not allowed."""
    pattern = next((tensor for tensor in inputs if tensor.name == PATTERN), None)
    if pattern is None:
        raise InvalidTensor(f"no {PATTERN!r}", f"an input {PATTERN!r} of shape [rows, minutes]")
    shape = tuple(pattern.shape[: _MAX_DIMENSIONS + 1])
    if len(shape) != _MAX_DIMENSIONS or not 1 <= shape[0] <= MAX_ROWS or not 1 <= shape[1] <= MAX_SLOTS:
        raise _bad_shape(pattern, f"[1 to {MAX_ROWS} rows, 1 to {MAX_SLOTS} minutes]")
    return pattern.shape[0]


def _shape(tensor: pb.ModelInferRequest.InferInputTensor, rows: int) -> tuple[int, ...]:
    """Return the shape of a tensor; raise InvalidTensor if it does not fit the number of rows."""
    shape = tuple(tensor.shape[: _MAX_DIMENSIONS + 1])
    if tensor.name == LEVELS:
        if len(shape) != 1 or not 1 <= shape[0] <= MAX_QUANTILES:
            raise _bad_shape(tensor, f"[1 to {MAX_QUANTILES} levels]")
    elif tensor.name != PATTERN and shape not in {(rows,), (rows, 1)}:
        raise _bad_shape(tensor, f"[{rows}], as {PATTERN} has {rows} rows")
    return shape


def _bad_shape(tensor: pb.ModelInferRequest.InferInputTensor, expected: str) -> InvalidTensor:
    dimensions = len(tensor.shape)
    found = str(list(tensor.shape)) if dimensions <= _MAX_DIMENSIONS else f"{dimensions} dimensions"
    return InvalidTensor(found, expected, field=f"{tensor.name}.shape")


def _read_numbers(
    tensor: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...], raw: bytes | None
) -> NDArray[Any]:
    """Return the numbers of a tensor in its shape."""
    datatype = _NUMERIC.get(tensor.datatype)
    if datatype is None:
        raise InvalidTensor(quoted(tensor.datatype), f"one of {', '.join(_NUMERIC)}", f"{tensor.name}.datatype")
    kind, count = np.dtype(datatype.raw), int(np.prod(shape))
    if raw is not None:
        if len(raw) != count * kind.itemsize:
            raise _bad_size(tensor, f"{len(raw)} bytes", f"{count * kind.itemsize}", "raw_input_contents")
        values = np.frombuffer(raw, kind)
    else:
        if not datatype.field:
            raise InvalidTensor(tensor.datatype, "raw_input_contents for this datatype", f"{tensor.name}.datatype")
        contents: Sequence[float] = getattr(tensor.contents, datatype.field)
        if len(contents) != count:
            raise _bad_size(tensor, f"{len(contents)} values", f"{count}", f"contents.{datatype.field}")
        _check_only(tensor, datatype.field)
        values = np.fromiter(contents, _widest(kind), count)
    return values.astype(_widest(kind), copy=False).reshape(shape)


def _widest(kind: np.dtype[Any]) -> np.dtype[Any]:
    """Return the datatype of 64 bits that can hold the values of another one."""
    return np.dtype(f"{kind.kind}8")


def _read_texts(
    tensor: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...], raw: bytes | None
) -> Sequence[str]:
    """Return the texts of a tensor."""
    if tensor.datatype != TEXT:
        raise InvalidTensor(quoted(tensor.datatype), TEXT, field=f"{tensor.name}.datatype")
    count = shape[0]
    if raw is not None:
        elements = _split(tensor, count, raw)
    else:
        elements = tensor.contents.bytes_contents
        if len(elements) != count:
            raise _bad_size(tensor, f"{len(elements)} values", f"{count}", "contents.bytes_contents")
        _check_only(tensor, "bytes_contents")
    return [_decoded(element, tensor.name, row) for row, element in enumerate(elements)]


def _check_only(tensor: pb.ModelInferRequest.InferInputTensor, field: str) -> None:
    """Raise InvalidTensor if there are contents of another datatype beside those in the field of its own."""
    for other, values in tensor.contents.ListFields():
        if other.name != field:
            found = f"{len(values)} values in contents.{other.name}"
            expected = f"values in contents.{field} only, by its datatype {tensor.datatype}"
            raise InvalidTensor(found, expected, field=f"{tensor.name}.contents")


def _split(tensor: pb.ModelInferRequest.InferInputTensor, count: int, raw: bytes) -> Sequence[bytes]:
    """Return texts that are sent raw: each after its length."""
    elements, position = [], 0
    for row in range(count):
        start = position + _LENGTH.size
        if start <= len(raw):
            position = start + _LENGTH.unpack_from(raw, start - _LENGTH.size)[0]
        if start > len(raw) or position > len(raw):
            expected = f"{count} texts, each after its length as 4 bytes, little-endian"
            raise InvalidTensor(f"{len(raw)} bytes, which end in text {row}", expected, f"{tensor.name}[{row}]")
        elements.append(raw[start:position])
    if position != len(raw):
        raise _bad_size(tensor, f"{len(raw)} bytes", f"{position}, which is where its texts end", "raw_input_contents")
    return elements


def _decoded(element: bytes, name: str, row: int) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InvalidTensor(f"{len(element)} bytes that are not UTF-8", "a text in UTF-8", f"{name}[{row}]") from None


def _bad_size(tensor: pb.ModelInferRequest.InferInputTensor, found: str, expected: str, where: str) -> InvalidTensor:
    shape = f"shape {list(tensor.shape)} and datatype {tensor.datatype}"
    return InvalidTensor(f"{found} in {where}", f"{expected}, by its {shape}", field=tensor.name)


def add_output(response: pb.ModelInferResponse, name: str, values: NDArray[np.float64], *, raw: bool) -> None:
    """Add a tensor of FP64 to a response.

    Args:
        response: the response.
        name: name of the tensor.
        values: its values, in its shape.
        raw: whether its contents are raw.
    """
    tensor = response.outputs.add(name=name, datatype="FP64", shape=values.shape)
    if raw:
        response.raw_output_contents.append(values.astype("<f8", copy=False).tobytes())
    else:
        tensor.contents.fp64_contents.extend(values.ravel().tolist())
