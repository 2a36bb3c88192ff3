"""Reads the weights of an LSTM from the ONNX graph that the trainer exports.

A bundle holds the network as an ONNX graph, which any runtime can run. The compiled models need its weights alone. A
graph of any other form than the exporter's is not recognised, and runs in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from dejavu_models.arrays import Singles

_FIELDS: Final = {
    "Model": (("graph", 7, "Graph"),),
    "Graph": (("node", 1, "Node*"), ("initializer", 5, "Tensor*"), ("input", 11, "Value*"), ("output", 12, "Value*")),
    "Node": (
        ("input", 1, "string*"),
        ("output", 2, "string*"),
        ("op_type", 4, "string"),
        ("attribute", 5, "Attribute*"),
    ),
    "Attribute": (("name", 1, "string"), ("i", 3, "int64")),
    "Tensor": (("dims", 1, "int64*"), ("data_type", 2, "int64"), ("name", 8, "string"), ("raw_data", 9, "bytes")),
    "Value": (("name", 1, "string"),),
}
"""The part of ONNX's messages that is read: name, number and type of the fields, with * for repeated ones."""

_FLOAT: Final = 1
"""ONNX's number of float32."""

_OPERATORS: Final = frozenset(
    {"Div", "LSTM", "MatMul", "Add", "Slice", "Mul", "Concat", "ReduceMean"}
    | {"Constant", "ConstantOfShape", "Gather", "Shape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators of the exported graph: normalisation, LSTM, head, and the mean of several networks."""


class NetworkWeights(NamedTuple):
    """Weights of one network; h is the number of its units, gates are in ONNX's order (input, output, forget, cell).

    Attributes:
        scale: (channels,), divides the inputs.
        input: (4 h, channels).
        recurrent: (4 h, h).
        bias: (4 h,).
        head: (h, 2 horizons).
        head_bias: (2 horizons,).
        spreads: (minutes, 2 horizons), multiplies the outputs, in points.
    """

    scale: Singles
    input: Singles
    recurrent: Singles
    bias: Singles
    head: Singles
    head_bias: Singles
    spreads: Singles


def network_weights(graph: bytes) -> list[NetworkWeights] | None:
    """Returns the weights of the networks whose mean a graph computes; None if it has another form.

    Args:
        graph: an ONNX model.
    """
    model = _messages()()
    try:
        model.ParseFromString(graph)
    except DecodeError:
        return None
    try:
        return [*_Graph(model.graph).networks()]
    except (KeyError, ValueError):
        return None


class _Graph:
    """A graph, by what makes each value. Raises KeyError or ValueError where it is not what the exporter writes."""

    def __init__(self, graph: Any) -> None:
        self._nodes = graph.node
        self._maker = {name: node for node in graph.node for name in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        [self._input], [self._output] = graph.input, graph.output
        if stray := {node.op_type for node in graph.node} - _OPERATORS:
            raise ValueError(f"operators that the exporter does not use: {stray}")

    def networks(self) -> Iterator[NetworkWeights]:
        count = 0
        for product in self._outputs():
            count += 1
            [spreads], sums = self._parted(product, "Mul", self._slices)
            [head_bias], products = self._parted(self._made(sums, "Add"), "Add", self._values)
            states, head = self._made(products, "MatMul").input
            lstm = self._made(states, "LSTM")
            steps, weights, recurrent, biases = lstm.input[:4]
            if [each.name for each in lstm.attribute] != ["hidden_size"]:
                raise ValueError("an LSTM with other attributes than the number of units")
            quotient = self._made(steps, "Div")
            if quotient.input[0] != self._input.name:
                raise ValueError("what is divided is not the input")
            [both] = self._value(biases)
            of_input, of_recurrent = np.split(both, 2)
            [[input_weights], [recurrent_weights]] = self._value(weights), self._value(recurrent)
            yield NetworkWeights(
                scale=self._value(quotient.input[1]),
                input=input_weights,
                recurrent=recurrent_weights,
                bias=of_input + of_recurrent,
                head=self._value(head),
                head_bias=head_bias,
                spreads=spreads,
            )
        if count != sum(node.op_type == "LSTM" for node in self._nodes):
            raise ValueError("an LSTM that is not part of the output")

    def _outputs(self) -> list[Any]:
        """Returns the node of each network's output; the graph's is that of the only one, or the mean of several."""
        last = self._maker[self._output.name]
        if last.op_type == "Mul":
            return [last]
        if last.op_type != "ReduceMean":
            raise ValueError("the output is neither a product nor a mean")
        together = self._made(last.input[0], "Concat")
        return [self._made(name, "Mul") for name in together.input]

    def _made(self, name: str, operator: str) -> Any:
        """Returns the node that makes a value, past those that only change its form."""
        node = self._maker[name]
        while node.op_type in {"Squeeze", "Transpose", "Unsqueeze"} and node.op_type != operator:
            node = self._maker[node.input[0]]
        if node.op_type != operator:
            raise ValueError(f"{name} is made by {node.op_type}, not {operator}")
        return node

    def _parted(self, node: Any, operator: str, constants: Any) -> tuple[list[Singles], str]:
        """Returns the constant inputs of a node, and the name of the other one."""
        if node.op_type != operator:
            raise ValueError(f"{node.op_type}, not {operator}")
        found, others = constants(node.input)
        [other] = others
        return found, other

    def _values(self, names: Iterable[str]) -> tuple[list[Singles], list[str]]:
        names = [*names]
        return (
            [self._value(name) for name in names if name in self._tensors],
            [name for name in names if name not in self._tensors],
        )

    def _slices(self, names: Iterable[str]) -> tuple[list[Singles], list[str]]:
        """Like `_values`, for constants of which the first minutes are taken."""
        names = [*names]
        sliced = {name for name in names if name in self._maker and self._maker[name].op_type == "Slice"}
        return (
            [self._value(self._maker[name].input[0]) for name in names if name in sliced],
            [name for name in names if name not in sliced],
        )

    def _value(self, name: str) -> Singles:
        tensor = self._tensors[name]
        if tensor.data_type != _FLOAT:
            raise ValueError(f"{name} is not of float32")
        return np.frombuffer(tensor.raw_data, dtype="<f4").reshape([*tensor.dims])


@cache
def _messages() -> type[Any]:
    """Returns the class of ONNX's models, from a pool of its own: the package onnx may be loaded too."""
    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {"string": kinds.TYPE_STRING, "bytes": kinds.TYPE_BYTES, "int64": kinds.TYPE_INT64}
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
