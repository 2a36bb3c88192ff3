"""The part of ONNX's messages that components may use, as protobuf classes of a private pool.

What a component must not have is not described here, so the parser leaves it among the unknown fields: external data,
functions, subgraphs, sparse tensors, training information. The `onnx` package is not used: it registers the same
messages in the common pool, takes 31 MB, and opens files.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_KINDS: Final = {
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}

FIELDS: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "ModelProto": {
        "ir_version": (1, "int64"),
        "graph": (7, "GraphProto"),
        "opset_import": (8, "OperatorSetIdProto*"),
    },
    "OperatorSetIdProto": {"domain": (1, "string"), "version": (2, "int64")},
    "GraphProto": {
        "node": (1, "NodeProto*"),
        "name": (2, "string"),
        "initializer": (5, "TensorProto*"),
        "input": (11, "ValueInfoProto*"),
        "output": (12, "ValueInfoProto*"),
    },
    "NodeProto": {
        "input": (1, "string*"),
        "output": (2, "string*"),
        "name": (3, "string"),
        "op_type": (4, "string"),
        "attribute": (5, "AttributeProto*"),
        "domain": (7, "string"),
    },
    "AttributeProto": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "t": (5, "TensorProto"),
        "floats": (7, "float*"),
        "ints": (8, "int64*"),
        "strings": (9, "bytes*"),
        "type": (20, "int32"),
    },
    "TensorProto": {
        "dims": (1, "int64*"),
        "data_type": (2, "int32"),
        "float_data": (4, "float*"),
        "int32_data": (5, "int32*"),
        "int64_data": (7, "int64*"),
        "name": (8, "string"),
        "raw_data": (9, "bytes"),
        "double_data": (10, "double*"),
    },
    "ValueInfoProto": {"name": (1, "string"), "type": (2, "TypeProto")},
    "TypeProto": {"tensor_type": (1, "TensorTypeProto")},
    "TensorTypeProto": {"elem_type": (1, "int32"), "shape": (2, "TensorShapeProto")},
    "TensorShapeProto": {"dim": (1, "DimensionProto*")},
    "DimensionProto": {"dim_value": (1, "int64"), "dim_param": (2, "string")},
}
"""Numbers and types of the allowed fields, as in onnx.proto; an asterisk marks a repeated one."""

DROPPED: Final[dict[str, frozenset[int]]] = {
    "ModelProto": frozenset({2, 3, 4, 5, 6, 14}),
    "GraphProto": frozenset({10, 13, 16}),
    "NodeProto": frozenset({6, 9}),
    "AttributeProto": frozenset({13}),
    "TensorProto": frozenset({12, 16}),
    "ValueInfoProto": frozenset({3, 4}),
    "TypeProto": frozenset({6}),
    "DimensionProto": frozenset({3}),
}
"""Numbers of fields that describe a graph to people and tools: names of producers, documentation, metadata, and types
of values inside, which the runtime infers. They are left out of what the runtime gets."""

REFUSED: Final[dict[tuple[str, int], str]] = {
    ("ModelProto", 20): "training information",
    ("ModelProto", 25): "functions",
    ("GraphProto", 15): "sparse initializers",
    ("AttributeProto", 6): "a subgraph",
    ("AttributeProto", 11): "subgraphs",
    ("AttributeProto", 21): "a reference to an attribute of a function",
    ("AttributeProto", 22): "a sparse tensor",
    ("TensorProto", 6): "texts",
    ("TensorProto", 13): "external data",
    ("TensorProto", 14): "a location of its data",
}
"""Names of fields that are refused, for messages; others are refused by their numbers."""


def _classes() -> dict[str, Any]:
    """Return the message classes by name."""
    file = descriptor_pb2.FileDescriptorProto(name="component.proto", package="component", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            element, repeated = kind.removesuffix("*"), kind.endswith("*")
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if repeated else added.LABEL_OPTIONAL
            if element in _KINDS:
                added.type = _KINDS[element]
            else:
                added.type, added.type_name = added.TYPE_MESSAGE, f".component.{element}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"component.{name}")) for name in FIELDS}


ModelProto: Final[Any] = _classes()["ModelProto"]
