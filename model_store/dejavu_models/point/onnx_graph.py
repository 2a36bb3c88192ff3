"""Checks the ONNX graph of a component before any runtime sees it.

A bundle may come from anyone who may upload one, and a runtime in C++ is not made for hostile graphs: it reads external
data from files, inlines functions recursively, and allocates whatever a graph asks for. So a component is one graph of
known operators and tensors in the file itself. The shape of each of its values depends only on the number of rows,
never on what is in them, and there are no branches or loops, apart from trees of bounded depth: so the time and memory
that a verification measures on one row are nearly those of every row. The runtime gets the graph as written again from
the checked fields alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf import unknown_fields
from google.protobuf.message import DecodeError

from dejavu_models.errors import quoted
from dejavu_models.point.onnx_messages import DROPPED, REFUSED, ModelProto
from dejavu_models.point.rows import INPUT, ROW_COLUMNS

MAX_BYTES: Final = 8 * 1024**2
"""Maximum size of a graph: 500 boosted trees of 31 leaves take 4 MB."""

MAX_NODES: Final = 2000
"""Maximum number of nodes; a transformer of two layers, as torch exports it, has 300."""

MAX_DEPTH: Final = 64
"""Maximum depth of a tree; boosted trees of 31 leaves have 30 at most. The runtime loads trees by recursion."""

_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")

_NUMBERS: Final = """
Abs Add And Cast Ceil Clip Concat Constant ConstantOfShape Cos CumSum Div Elu Equal Erf Exp Expand Flatten Floor
Gather Gelu Gemm Greater GreaterOrEqual Identity IsNaN LayerNormalization LeakyRelu Less LessOrEqual
Log LogSoftmax MatMul Max Mean Min Mod Mul Neg Not Or Pad Pow Reciprocal ReduceMax ReduceMean ReduceMin
ReduceSum Relu Reshape Round Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh
Transpose Unsqueeze Where
"""

OPERATORS: Final[dict[str, frozenset[str]]] = {
    "": frozenset(_NUMBERS.split()),
    "ai.onnx.ml": frozenset({"LinearRegressor", "Scaler", "TreeEnsembleRegressor"}),
}
"""Operators that a component may have, by domain. None draws random numbers, reads texts or images, runs another graph,
or returns a value whose shape depends on the numbers that it gets, apart from SHAPES. Recurrent layers are left out:
the runtime ends the process for some of them."""

SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "Pad": (1, 3),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Inputs, by their places, that determine the shape of a result: they must not depend on the numbers of a row."""

OPTIONAL: Final[dict[str, tuple[int, ...]]] = {"Clip": (1, 2), "Pad": (2,), "Slice": (3,)}
"""Inputs that may be left out before others; of other operators, the runtime then reads memory that is not there."""

_FLOAT, _INT32, _INT64, _BOOL, _DOUBLE = 1, 6, 7, 9, 11
_WIDTHS: Final = {_FLOAT: 4, _INT32: 4, _INT64: 8, _BOOL: 1, _DOUBLE: 8}
"""Types of tensors that a component may have, with the bytes of an element."""

_ATTRIBUTES: Final = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""Types of attributes: a number or text, a tensor, or several numbers or texts."""


def checked_graph(content: bytes) -> bytes:
    """Return a component's graph, written again from the checked fields alone.

    Raises:
        ValueError: if it is not a graph that a component may have; the message says what is wrong, in one line.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"the graph has {len(content):,} bytes; expected {MAX_BYTES:,} at most")
    try:
        model = ModelProto.FromString(content)
    except DecodeError:
        raise ValueError("the graph is not an ONNX model") from None
    _check_fields(model)
    model.DiscardUnknownFields()
    _unify_domains(model)
    graph = model.graph
    _check_ends(graph)
    if len(graph.node) > MAX_NODES:
        raise ValueError(f"the graph has {len(graph.node):,} nodes; expected {MAX_NODES:,} at most")
    if graph.output[0].name not in _checked_values(graph):
        raise ValueError("the output of the graph is not one of its values")
    checked: bytes = model.SerializeToString()
    return checked


def _checked_values(graph: Any) -> set[str]:
    """Return the names of all values of a graph, after checking its tensors and nodes."""
    varying = {INPUT: True}
    """Whether a value depends on the numbers of the rows, by the names of the values known so far."""
    integers = {tensor.name for tensor in graph.initializer if tensor.data_type in (_INT32, _INT64)}
    rows = {INPUT}
    for tensor in graph.initializer:
        _check_tensor(tensor)
        _add(varying, [tensor.name], varies=False)
    for node in graph.node:
        _check_node(node)
        varies = _varies(node, varying)
        if node.op_type == "Div" and varies and integers & {*node.input}:
            raise ValueError("Div has whole numbers that depend on the rows; the runtime may end the process for some")
        if node.op_type == "TreeEnsembleRegressor" and node.input[0] not in rows:
            raise ValueError("the input of TreeEnsembleRegressor is not the rows: its time could depend on them")
        _add(varying, node.output, varies=varies)
        if _makes_integers(node, integers):
            integers.update(node.output)
        if node.op_type in {"Cast", "Identity"} and node.input[0] in rows:
            rows.update(node.output)
    return set(varying)


def _check_fields(message: Any) -> None:
    """Raise ValueError if a message, or one inside it, has a field that is neither described nor dropped."""
    kind = message.DESCRIPTOR.name
    unknown: Any = unknown_fields.UnknownFieldSet(message)
    for each in unknown:
        number = each.field_number
        if number not in DROPPED.get(kind, ()):
            what = REFUSED.get((kind, number), f"field {number} of {kind}")
            raise ValueError(f"the graph has {what}, which a component must not have")
    try:
        for field, value in message.ListFields():
            if field.message_type is not None:
                for inner in value if field.is_repeated else (value,):
                    _check_fields(inner)
            elif field.type == field.TYPE_STRING and field.is_repeated:
                tuple(value)  # decodes them
    except UnicodeDecodeError:
        raise ValueError("a name in the graph is not a text") from None


def _unify_domains(model: Any) -> None:
    """Keep one entry of each set of operators, since skl2onnx may write the same one twice.

    Raises:
        ValueError: if a set is not allowed, or is named with two versions.
    """
    sets: dict[str, Any] = {}
    for each in model.opset_import:
        if each.domain not in _DOMAINS:
            raise ValueError(f"the graph has operators of {quoted(each.domain)}; expected ai.onnx and ai.onnx.ml")
        name = each.domain or "ai.onnx"
        if (first := sets.setdefault(name, each).version) != each.version:
            raise ValueError(f"the graph has operators of {name} of two versions, {first} and {each.version}")
    kept = [(each.domain, each.version) for each in sets.values()]
    del model.opset_import[:]
    for domain, version in kept:
        model.opset_import.add(domain=domain, version=version)


def _check_ends(graph: Any) -> None:
    """Raise ValueError unless the graph has one input, the rows, and one output of numbers."""
    if [each.name for each in graph.input] != [INPUT]:
        names = ", ".join(quoted(each.name) for each in graph.input[:3]) or "none"
        raise ValueError(f"the inputs of the graph are {names}; expected one, {INPUT}")
    if len(graph.output) != 1:
        raise ValueError(f"the graph has {len(graph.output)} outputs; expected one")
    for end in (*graph.input, *graph.output):
        if end.type.tensor_type.elem_type != _FLOAT:
            raise ValueError(f"the {quoted(end.name)} of the graph is not a tensor of float32")
    shape = graph.input[0].type.tensor_type.shape.dim
    if len(shape) != 2 or shape[1].dim_value != ROW_COLUMNS or shape[0].dim_value:
        raise ValueError(f"the input of the graph has another shape than (n, {ROW_COLUMNS})")


def _check_node(node: Any) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if node.op_type not in OPERATORS.get(domain, ()):
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise ValueError(f"the graph has the operator {quoted(name)}; a component may have those of docs/components.md")
    if len({attribute.name for attribute in node.attribute}) < len(node.attribute):
        raise ValueError(f"{node.op_type} has an attribute twice")
    for attribute in node.attribute:
        field = _ATTRIBUTES.get(attribute.type)
        if field is None or any(each.name not in (field, "name", "type") for each, _ in attribute.ListFields()):
            raise ValueError(f"an attribute of {node.op_type} is not a number, a text, a tensor or a list of them")
        if field == "t":
            _check_tensor(attribute.t)
    if node.op_type == "TreeEnsembleRegressor":
        _check_trees({attribute.name: attribute for attribute in node.attribute})


def _check_trees(attributes: dict[str, Any]) -> None:
    """Raise ValueError unless each branch of the trees leads to a later node: the runtime follows a circle for ever."""
    lists = [
        list(attributes[f"nodes_{name}"].ints) if f"nodes_{name}" in attributes else []
        for name in ("treeids", "nodeids", "truenodeids", "falsenodeids")
    ]
    modes = list(attributes["nodes_modes"].strings) if "nodes_modes" in attributes else []
    known = set(zip(*lists[:2], strict=False))
    if {len(each) for each in lists} != {len(known)} or len(modes) != len(known):
        raise ValueError("the nodes of the trees have lists of different lengths, or a node twice")
    depths = dict.fromkeys(known, 0)
    for tree, node, *children, mode in sorted(zip(*lists, modes, strict=True)):
        if mode == b"LEAF":
            continue
        if any(child <= node or (tree, child) not in known for child in children):
            raise ValueError("a branch of a tree leads back, or to no node")
        for child in children:
            depths[tree, child] = max(depths[tree, child], depths[tree, node] + 1)
    if max(depths.values(), default=0) > MAX_DEPTH:
        raise ValueError(f"a tree is deeper than {MAX_DEPTH} branches")


_TRUTHS: Final = {"And", "Equal", "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Not", "Or"}
"""Operators whose results are true or false."""


def _makes_integers(node: Any, integers: set[str]) -> bool:
    """Return whether the results of a node are whole numbers; of most operators, if its first input is."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Cast":
        return "to" in attributes and attributes["to"].i in (_INT32, _INT64)
    if node.op_type in {"Constant", "ConstantOfShape"}:
        tensor = attributes["value"].t.data_type if "value" in attributes else _FLOAT
        return tensor in (_INT32, _INT64) or bool({"value_int", "value_ints"} & attributes.keys())
    if node.op_type == "Shape":
        return True
    inputs = node.input[1:] if node.op_type == "Where" else node.input[:1]
    return node.op_type not in _TRUTHS and bool(integers & {*inputs})


def _check_tensor(tensor: Any) -> None:
    """Raise ValueError unless a tensor has a known type and as many numbers as its shape says."""
    width = _WIDTHS.get(tensor.data_type)
    if width is None:
        raise ValueError(f"a tensor of the graph has the data type {tensor.data_type}; expected floats, ints or bools")
    if any(not 0 <= size <= MAX_BYTES for size in tensor.dims) or len(tensor.dims) > 8:
        raise ValueError("a tensor of the graph has an impossible shape")
    listed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    sizes = [len(tensor.raw_data) / width] if tensor.HasField("raw_data") else [len(each) for each in listed if each]
    if (sizes or [0]) != [math.prod(tensor.dims)]:
        raise ValueError("a tensor of the graph has more or fewer numbers than its shape says")


def _varies(node: Any, varying: dict[str, bool]) -> bool:
    """Return whether the results of a node depend on the numbers of the rows.

    Raises:
        ValueError: if it uses a value that is not known yet, or the shape of its results depends on these numbers.
    """
    inputs = list(_inputs(node, varying))
    for place in SHAPES.get(node.op_type, ()):
        if place < len(inputs) and inputs[place]:
            raise ValueError(f"the shape of a result of {node.op_type} depends on the numbers in the rows")
    return node.op_type != "Shape" and any(inputs)


def _inputs(node: Any, varying: dict[str, bool]) -> Iterator[bool]:
    """Yield whether each input of a node depends on the numbers of the rows."""
    for place, name in enumerate(node.input):
        if not name and place not in OPTIONAL.get(node.op_type, ()):
            raise ValueError(f"{node.op_type} lacks an input")
        if name and name not in varying:
            raise ValueError(f"{node.op_type} uses the value {quoted(name)}, which no earlier node makes")
        yield bool(name) and varying[name]


def _add(varying: dict[str, bool], names: Iterable[str], *, varies: bool) -> None:
    for name in names:
        if not name:  # an optional result that is not used
            continue
        if name in varying:
            raise ValueError(f"the graph has two values {quoted(name)}")
        varying[name] = varies
