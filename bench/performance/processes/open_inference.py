"""The messages of the Open Inference Protocol (V2) that a forecast by MLServer needs.

They are defined here, in a separate descriptor pool: MLServer ships another copy of the protocol's file, and two copies
in the default pool of a process clash.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import unpack
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
READY_METHOD: Final = "/inference.GRPCInferenceService/ServerReady"

MODEL: Final = "echo"
"""Name of the model: the one that `bench.overload.servers.running_mlserver` gives."""

POINT: Final = "point"
"""Name of the tensor with the point forecasts."""

_INT64, _STRING, _MESSAGE, _BYTES = (
    FieldDescriptorProto.TYPE_INT64,
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_MESSAGE,
    FieldDescriptorProto.TYPE_BYTES,
)
_DOUBLE: Final = FieldDescriptorProto.TYPE_DOUBLE


def infer_request(patterns: Sequence[Sequence[float]]) -> bytes:
    """Return a serialized ModelInferRequest for patterns of equal length, (n, minutes), in points.

    The values travel as numbers: MLServer takes longer to read them as raw bytes.
    """
    flat = [value for pattern in patterns for value in pattern]
    message = _classes()["ModelInferRequest"](model_name=MODEL)
    shape, contents = [len(patterns), len(patterns[0])], {"fp64_contents": flat}
    message.inputs.add(name="patterns", datatype="FP64", shape=shape, contents=contents)
    data: bytes = message.SerializeToString()
    return data


def points(response: bytes) -> list[float]:
    """Return the point forecasts of a serialized ModelInferResponse, in points; empty if it has none."""
    message = _classes()["ModelInferResponse"].FromString(response)
    for index, tensor in enumerate(message.outputs):
        if tensor.name == POINT:
            if message.raw_output_contents:
                raw = message.raw_output_contents[index]
                return list(unpack(f"<{len(raw) // 8}d", raw))
            return list(tensor.contents.fp64_contents)
    return []


@cache
def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="inference_subset.proto", package="inference", syntax="proto3")
    file.message_type.append(
        DescriptorProto(name="InferTensorContents", field=[_field("fp64_contents", 7, _DOUBLE, repeated=True)])
    )
    tensor = [
        _field("name", 1, _STRING),
        _field("datatype", 2, _STRING),
        _field("shape", 3, _INT64, repeated=True),
        _field("contents", 5, _MESSAGE, of=".inference.InferTensorContents"),
    ]
    for name, tensors, nested, raw, raw_number in (
        ("ModelInferRequest", "inputs", "InferInputTensor", "raw_input_contents", 7),
        ("ModelInferResponse", "outputs", "InferOutputTensor", "raw_output_contents", 6),
    ):
        fields = [
            _field("model_name", 1, _STRING),
            _field(tensors, 5, _MESSAGE, repeated=True, of=f".inference.{name}.{nested}"),
            _field(raw, raw_number, _BYTES, repeated=True),
        ]
        file.message_type.append(
            DescriptorProto(name=name, field=fields, nested_type=[DescriptorProto(name=nested, field=tensor)])
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    names = ("ModelInferRequest", "ModelInferResponse")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in names}


def _field(
    name: str, number: int, kind: FieldDescriptorProto.Type.ValueType, *, repeated: bool = False, of: str = ""
) -> FieldDescriptorProto:
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    return FieldDescriptorProto(name=name, number=number, type=kind, label=label, type_name=of or None)
