"""Requests of the Open Inference Protocol, built from numpy arrays and texts as clients build them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.support.builders.calls import PATTERN

from dejavu.inference import open_inference_pb2 as pb

MODEL = "dejavu"

_FIELDS = {
    "FP64": ("fp64_contents", float, "<f8"),
    "FP32": ("fp32_contents", float, "<f4"),
    "FP16": ("", float, "<f2"),
    **{f"INT{bits}": ("int_contents", int, f"<i{bits // 8}") for bits in (8, 16, 32)},
    "INT64": ("int64_contents", int, "<i8"),
    **{f"UINT{bits}": ("uint_contents", int, f"<u{bits // 8}") for bits in (8, 16, 32)},
    "UINT64": ("uint64_contents", int, "<u8"),
}
NUMERIC = tuple(_FIELDS)


class Tensor:
    """An input.

    Args:
        values: numbers, or texts for BYTES.
        datatype: its datatype.
        shape: its shape; by default that of the values.
    """

    def __init__(self, values: Any, datatype: str = "FP64", shape: Sequence[int] | None = None) -> None:
        self.datatype = datatype
        self.values: Any = [each.encode() for each in values] if datatype == "BYTES" else np.asarray(values)
        self.shape = list(shape if shape is not None else np.shape(values))

    def add_to(self, request: pb.ModelInferRequest, name: str, *, raw: bool) -> None:
        tensor = request.inputs.add(name=name, datatype=self.datatype, shape=self.shape)
        if self.datatype == "BYTES":
            if raw:
                data = b"".join(struct.pack("<I", len(each)) + each for each in self.values)
                request.raw_input_contents.append(data)
            else:
                tensor.contents.bytes_contents.extend(self.values)
            return
        field, convert, kind = _FIELDS[self.datatype]
        if raw:
            request.raw_input_contents.append(self.values.astype(kind).tobytes())
        else:
            getattr(tensor.contents, field).extend(map(convert, self.values.ravel().tolist()))


def texts(*values: str) -> Tensor:
    """Return an input of texts."""
    return Tensor(values, "BYTES")


def padded(patterns: Sequence[Sequence[float]]) -> Tensor:
    """Return patterns of any length as an input."""
    table = np.full((len(patterns), max(map(len, patterns))), math.nan)
    for row, pattern in enumerate(patterns):
        table[row, : len(pattern)] = pattern
    return Tensor(table)


def infer_request(
    inputs: Mapping[str, Tensor] | None = None,
    *,
    raw: bool = False,
    outputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    **fields: Any,
) -> pb.ModelInferRequest:
    """Return a request, by default for one forecast of PATTERN."""
    request = pb.ModelInferRequest(**{"model_name": MODEL, **fields})
    for name, tensor in {"pattern": padded([PATTERN]), **(inputs or {})}.items():
        tensor.add_to(request, name, raw=raw)
    for name in outputs:
        request.outputs.add(name=name)
    for name, value in (parameters or {}).items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], kind, value)
    return request


def columns(response: pb.ModelInferResponse) -> dict[str, NDArray[np.float64]]:
    """Return the outputs of a response by name."""
    found = {}
    for index, tensor in enumerate(response.outputs):
        assert tensor.datatype == "FP64"
        if response.raw_output_contents:
            assert not tensor.HasField("contents")
            values = np.frombuffer(response.raw_output_contents[index], "<f8")
        else:
            values = np.array(tensor.contents.fp64_contents)
        found[tensor.name] = values.reshape(list(tensor.shape))
    return found
