"""Reads the weights of an LSTM from the ONNX graph that the trainer exports.

A bundle holds the network as an ONNX graph. No runtime executes it, because a runtime would read files and run
computations that the graph names. Only the exact form that the exporter writes is read, node by node; any other
operator, attribute, field, constant or shape, and any unused part, is refused. So the weights represent the whole
computation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from dejavu_models.arrays import Singles
from dejavu_models.point.features import STEP_CHANNELS
from dejavu_models.types import HORIZONS, MAX_SLOTS

INPUT, OUTPUT = "steps", "residuals"
"""Names of the graph's values: (n, minutes, channels) float32 → (n, minutes, 2 horizons) float32, in points. The graph
includes the normalisation."""

OPSET: Final = 20
"""Version of ONNX's operators that the exporter writes."""

MAX_BYTES: Final = 4 * 1024**2
"""Maximum number of bytes of a graph; a graph of 32 units has 25,000."""

MAX_NETWORKS: Final = 16
MAX_UNITS: Final = 256

MAX_WEIGHT: Final = 1e6
"""Largest absolute value of a weight, so that no sum of products overflows."""

MIN_SCALE: Final = 1e-3
"""Smallest number that inputs are divided by; the trainer's is 0.1."""

_FIELDS: Final = {
    "Model": (
        ("ir_version", 1, "int64"),
        ("producer_name", 2, "bytes"),
        ("producer_version", 3, "bytes"),
        ("graph", 7, "Graph"),
        ("opset_import", 8, "Opset*"),
    ),
    "Opset": (("domain", 1, "bytes"), ("version", 2, "int64")),
    "Graph": (
        ("node", 1, "Node*"),
        ("name", 2, "bytes"),
        ("initializer", 5, "Tensor*"),
        ("input", 11, "Value*"),
        ("output", 12, "Value*"),
    ),
    "Node": (
        ("input", 1, "bytes*"),
        ("output", 2, "bytes*"),
        ("name", 3, "bytes"),
        ("op_type", 4, "bytes"),
        ("attribute", 5, "Attribute*"),
    ),
    "Attribute": (
        ("name", 1, "bytes"),
        ("i", 3, "int64"),
        ("t", 5, "Tensor"),
        ("ints", 8, "int64*"),
        ("type", 20, "int64"),
    ),
    "Tensor": (("dims", 1, "int64*"), ("data_type", 2, "int64"), ("name", 8, "bytes"), ("raw_data", 9, "bytes")),
    "Value": (("name", 1, "bytes"), ("type", 2, "Type")),
    "Type": (("tensor_type", 1, "TensorType"),),
    "TensorType": (("elem_type", 1, "int64"), ("shape", 2, "Shape")),
    "Shape": (("dim", 1, "Dimension*"),),
    "Dimension": (("dim_value", 1, "int64"), ("dim_param", 2, "bytes")),
}
"""The part of ONNX's messages that the exporter writes: name, number and type of the fields, with * for repeated ones.
Texts are bytes, which are compared and not shown."""

_FLOAT, _INT64 = 1, 7
"""ONNX's numbers of float32 and int64."""

_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}

_ATTRIBUTES: Final = {2: "i", 4: "t", 7: "ints"}
"""Field with the value of an attribute, by ONNX's number of its type."""


class NetworkWeights(NamedTuple):
    """Weights of one network; h is the number of its units, gates are in ONNX's order (input, output, forget, cell).

    Attributes:
        scale: (channels,), divides the inputs.
        input: (4 h, channels).
        recurrent: (4 h, h).
        bias: (4 h,).
        head: (h, 2 horizons).
        head_bias: (2 horizons,).
        spreads: (47 minutes, 2 horizons), multiplies the outputs, in points.
    """

    scale: Singles
    input: Singles
    recurrent: Singles
    bias: Singles
    head: Singles
    head_bias: Singles
    spreads: Singles


def network_weights(graph: bytes) -> list[NetworkWeights]:
    """Return the weights of the networks whose mean a graph computes.

    Args:
        graph: an ONNX model.

    Raises:
        ValueError: if it is not of exactly the form that the trainer exports.
    """
    if len(graph) > MAX_BYTES:
        raise ValueError(f"an ONNX graph of {len(graph):,} bytes; expected at most {MAX_BYTES:,}")
    model = _messages()()
    try:
        model.ParseFromString(graph)
    except DecodeError as error:
        raise ValueError(f"not an ONNX graph: {error}") from None
    size = model.ByteSize()
    model.DiscardUnknownFields()
    if model.ByteSize() != size:
        raise ValueError("an ONNX graph with fields that the trainer does not write, such as external data")
    if [(opset.domain, opset.version) for opset in model.opset_import] != [(b"", OPSET)]:
        raise ValueError(f"an ONNX graph of other operators than those of version {OPSET}")
    return _Graph(model.graph).networks()


class _Graph:
    """A graph, read from its output back to its input.

    Args:
        graph: the message.

    Raises:
        ValueError: if a name is not unique, or there are other inputs or outputs.
    """

    def __init__(self, graph: Any) -> None:
        self._maker = {name: node for node in graph.node for name in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        values = (len(node.output) for node in graph.node)
        if len({INPUT.encode(), b"", *self._maker, *self._tensors}) != 2 + sum(values) + len(graph.initializer):
            raise ValueError("an ONNX graph with a value of two meanings")
        for declared, name, last in (
            (graph.input, INPUT, STEP_CHANNELS),
            (graph.output, OUTPUT, len(HORIZONS)),
        ):
            if [_shape_of(value) for value in declared] != [(name.encode(), (0, 0, last))]:
                raise ValueError(f"an ONNX graph with other inputs or outputs than {name} (n, minutes, {last})")
        self._left = {id(node) for node in graph.node}
        self._unread = set(self._tensors)

    def networks(self) -> list[NetworkWeights]:
        """Return the networks whose mean is the output.

        Raises:
            ValueError: if the graph has another form, or parts that the output does not use.
        """
        products = [OUTPUT.encode()]
        if self._kind(products[0]) == b"ReduceMean":
            together, axes = self._made(products[0], "ReduceMean", 2, keepdims=0)
            self._expect(axes, [0])
            products = [self._unsqueezed(name) for name in self._made(together, "Concat", None, axis=0)]
        if len(products) > MAX_NETWORKS:
            raise ValueError(f"an ONNX graph of {len(products)} networks; expected at most {MAX_NETWORKS}")
        found = [self._network(product) for product in products]
        if self._left or self._unread:
            raise ValueError("an ONNX graph with parts that its output does not use")
        return found

    def _network(self, product: bytes) -> NetworkWeights:
        residuals, spreads = self._made(product, "Mul", 2)
        bias, products = self._made(residuals, "Add", 2)
        states, head = self._made(products, "MatMul", 2)
        [by_minute] = self._made(states, "Transpose", 1, perm=(1, 0, 2))
        outputs, axes = self._made(by_minute, "Squeeze", 2)
        self._expect(axes, [1])
        recurrent = self._read(self._maker_of(outputs).input[2:3])
        units = recurrent.shape[-1] if recurrent.ndim == 3 else 0
        if not 1 <= units <= MAX_UNITS:
            raise ValueError(f"an LSTM with recurrent weights of shape {recurrent.shape}")
        steps, of_input, _, of_gates, lengths, state, cell = self._made(
            outputs, "LSTM", 7, outputs=3, hidden_size=units
        )
        if lengths:
            raise ValueError("an LSTM with lengths of its sequences")
        [scaled] = self._made(steps, "Transpose", 1, perm=(1, 0, 2))
        given, scale = self._made(scaled, "Div", 2)
        self._expect_input(given)
        for start in (state, cell):
            self._expect_zeros(start, scaled, units)
        both = self._weights([of_gates], 1, 8 * units)[0]
        weights = NetworkWeights(
            scale=self._weights([scale], STEP_CHANNELS),
            input=self._weights([of_input], 1, 4 * units, STEP_CHANNELS)[0],
            recurrent=_checked(recurrent, 1, 4 * units, units)[0],
            bias=both[: 4 * units] + both[4 * units :],
            head=self._weights([head], units, len(HORIZONS)),
            head_bias=self._weights([bias], len(HORIZONS)),
            spreads=self._weights([self._first_minutes(spreads)], MAX_SLOTS, len(HORIZONS)),
        )
        if (np.abs(weights.scale) < MIN_SCALE).any():
            raise ValueError(f"an LSTM whose inputs are divided by less than {MIN_SCALE:g}")
        return weights

    def _first_minutes(self, name: bytes) -> bytes:
        """Return the value whose first minutes, as many as the input has, are sliced to give a named value."""
        whole, starts, ends, axes, steps = self._made(name, "Slice", 5)
        for constant, expected in ((starts, 0), (axes, 0), (steps, 1)):
            self._expect(constant, [expected])
        sizes, place = self._made(self._unsqueezed(ends), "Gather", 2, axis=0)
        self._expect(place, 1)
        [given] = self._made(sizes, "Shape", 1)
        self._expect_input(given)
        return whole

    def _expect_zeros(self, name: bytes, of_games: bytes, units: int) -> None:
        """Check that a value is a state of zeros for each game: (1, n, units)."""
        zero = np.zeros(1, dtype="<f4")
        [shape] = self._made(name, "ConstantOfShape", 1, value=zero)
        layers, games, last = self._made(shape, "Concat", 3, axis=0)
        self._expect(layers, [1])
        self._expect(last, [units])
        sizes, place = self._made(self._unsqueezed(games), "Gather", 2, axis=0)
        self._expect(place, 0)
        [counted] = self._made(sizes, "Shape", 1)
        if counted != of_games:
            raise ValueError("an LSTM whose state is of other games than its input")

    def _unsqueezed(self, name: bytes) -> bytes:
        value, axes = self._made(name, "Unsqueeze", 2)
        self._expect(axes, [0])
        return value

    def _expect_input(self, name: bytes) -> None:
        if name != INPUT.encode():
            raise ValueError("an ONNX graph that computes with another value where it should with its input")

    def _expect(self, name: bytes, constant: int | list[int]) -> None:
        """Check that a value is a constant of int64."""
        self._made(name, "Constant", 0, value=np.array(constant, dtype="<i8"))

    def _kind(self, name: bytes) -> bytes:
        return bytes(self._maker_of(name).op_type)

    def _maker_of(self, name: bytes) -> Any:
        if name not in self._maker:
            raise ValueError("an ONNX graph with a value that no node computes where the trainer's has one")
        return self._maker[name]

    def _made(
        self, name: bytes, operator: str, inputs: int | None, *, outputs: int = 1, **attributes: object
    ) -> list[bytes]:
        """Return the inputs of the node that computes a value as its first output; that node counts as used.

        Raises:
            ValueError: if the node has another operator, other attributes, or other numbers of inputs and outputs.
        """
        node = self._maker_of(name)
        found = [*node.input]
        if (
            node.op_type != operator.encode()
            or (inputs is not None and len(found) != inputs)
            or len(node.output) != outputs
            or node.output[0] != name
            or not _same(_attributes(node), attributes)
        ):
            raise ValueError(f"an ONNX graph with another operation where the trainer's has {operator}")
        self._left.discard(id(node))
        return found

    def _weights(self, names: list[bytes], *shape: int) -> Singles:
        return _checked(self._read(names), *shape)

    def _read(self, names: list[bytes]) -> Singles:
        """Return the only one of some constants; the exporter writes equal constants once, and copies of that one."""
        [name] = names if len(names) == 1 else [b""]
        if name not in self._tensors:
            [name] = self._made(name, "Identity", 1)
        if name not in self._tensors:
            raise ValueError("an ONNX graph without a constant where the trainer's has one")
        self._unread.discard(name)
        values: Singles = _array(self._tensors[name])
        if values.dtype != _DTYPES[_FLOAT]:
            raise ValueError(f"an ONNX graph with weights of {values.dtype}")
        return values


def _checked(values: Singles, *shape: int) -> Singles:
    if values.shape != shape:
        raise ValueError(f"an LSTM with weights of shape {values.shape} where {shape} is expected")
    if not (np.abs(values) <= MAX_WEIGHT).all():  # NaN is not either
        raise ValueError(f"an LSTM with weights that are not finite, or beyond ±{MAX_WEIGHT:g}")
    return values


def _array(tensor: Any) -> Any:
    """Return the values of a tensor, all of which must be in the message."""
    dims, dtype = [*tensor.dims], _DTYPES.get(tensor.data_type)
    if dtype is None or len(dims) > 3 or min(dims, default=1) < 1:
        raise ValueError("an ONNX graph with a tensor of another form than the trainer's")
    if len(tensor.raw_data) != math.prod(dims) * dtype.itemsize:
        raise ValueError("an ONNX graph with a tensor without as many numbers as its shape says")
    return np.frombuffer(tensor.raw_data, dtype=dtype).reshape(dims)


def _attributes(node: Any) -> dict[str, object]:
    """Return the attributes of a node by name: numbers, tuples of numbers, or arrays."""
    found: dict[str, object] = {}
    for each in node.attribute:
        field = _ATTRIBUTES.get(each.type)
        present = {name.name for name, _ in each.ListFields()} - {"name", "type"}
        name = each.name.decode("ascii", "replace")
        if field is None or not present <= {field} or name in found:
            raise ValueError("an ONNX graph with an attribute of another form than the trainer's")
        value = getattr(each, field)
        found[name] = _array(value) if field == "t" else tuple(value) if field == "ints" else value
    return found


def _same(found: Mapping[str, object], expected: Mapping[str, object]) -> bool:
    if found.keys() != expected.keys():
        return False
    for name, value in expected.items():
        other = found[name]
        if isinstance(value, np.ndarray):
            if not isinstance(other, np.ndarray) or other.dtype != value.dtype or not np.array_equal(other, value):
                return False
        elif type(other) is not type(value) or other != value:
            return False
    return True


def _shape_of(value: Any) -> tuple[bytes, tuple[int, ...]]:
    """Return name and shape of an input or output of float32; 0 for a dynamic size."""
    tensor = value.type.tensor_type
    sizes = [
        dimension.dim_value if not dimension.dim_param else 0 if not dimension.HasField("dim_value") else -1
        for dimension in tensor.shape.dim
    ]
    return (value.name, tuple(sizes)) if tensor.elem_type == _FLOAT else (b"", ())


@cache
def _messages() -> type[Any]:
    """Return the class of ONNX's models, from a pool of its own: the package onnx may be loaded too."""
    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {"bytes": kinds.TYPE_BYTES, "int64": kinds.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(name="onnx_part.proto", package="onnx_part", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if (type_ := plain.get(kind.rstrip("*"))) is not None:
                added.type = type_
            else:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".onnx_part.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx_part.Model"))
