"""What a component's graph must not have is refused by a sentence before any runtime sees it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper
from tests.support.builders.components import constant, model_of, of_many_kinds, tilt, tree

from dejavu_models.point.onnx_graph import MAX_BYTES, MAX_DEPTH, MAX_NODES, OPERATORS, checked_graph
from dejavu_models.point.onnx_messages import FIELDS
from dejavu_models.point.rows import ROW_COLUMNS

MATRIX = constant("matrix", np.ones((ROW_COLUMNS, 2)))


def external() -> ModelProto:
    """Return a graph whose initializer is a file of the working directory."""
    model = tilt()
    matrix = model.graph.initializer[0]
    matrix.ClearField("raw_data")
    matrix.data_location = TensorProto.EXTERNAL
    matrix.external_data.add(key="location", value="signing.key")
    return model


def external_constant() -> ModelProto:
    tensor = external().graph.initializer[0]
    nodes = [
        helper.make_node("Constant", [], ["matrix"], value=tensor),
        helper.make_node("MatMul", ["rows", "matrix"], ["corrections"]),
    ]
    return model_of(nodes)


def function() -> ModelProto:
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    return model_of(
        [helper.make_node("MatMul", ["rows", "matrix"], ["corrections"])],
        [MATRIX],
        functions=[helper.make_function("own", "F", ["a", "b"], ["c"], [node], [helper.make_opsetid("", 18)])],
    )


def branch() -> ModelProto:
    body = tilt().graph
    del body.input[:]
    nodes = [helper.make_node("If", ["true"], ["corrections"], then_branch=body, else_branch=body)]
    return model_of(nodes, [constant("true", True, bool)])


def sparse() -> ModelProto:
    model = tilt()
    values, indices = model.graph.initializer[0], constant("indices", [0], np.int64)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [ROW_COLUMNS, 2]))
    return model


def of_numbers() -> ModelProto:
    """Return a graph that asks for as much memory as a row says."""
    nodes = [
        helper.make_node("Cast", ["rows"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Gather", ["whole", "zero"], ["first"], axis=0),
        helper.make_node("Expand", ["one", "first"], ["corrections"]),
    ]
    return model_of(nodes, [constant("zero", 0, np.int64), constant("one", [1.0])])


def changed(change: Callable[[ModelProto], object]) -> ModelProto:
    model = tilt()
    change(model)
    return model


def another_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n"]))


def renamed(node: NodeProto, name: str) -> NodeProto:
    node.input[0] = name
    return node


def deep_tree(depth: int) -> NodeProto:
    """Return a tree in which each branch has a leaf and the next branch."""
    count = 2 * depth + 1
    is_branch = [number % 2 == 0 and number < 2 * depth for number in range(count)]
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        ["corrections"],
        domain="ai.onnx.ml",
        n_targets=2,
        nodes_treeids=[0] * count,
        nodes_nodeids=list(range(count)),
        nodes_featureids=[0] * count,
        nodes_modes=["BRANCH_LEQ" if branch else "LEAF" for branch in is_branch],
        nodes_values=[0.0] * count,
        nodes_truenodeids=[number + 1 if branch else 0 for number, branch in enumerate(is_branch)],
        nodes_falsenodeids=[number + 2 if branch else 0 for number, branch in enumerate(is_branch)],
        target_treeids=[0],
        target_nodeids=[count - 1],
        target_ids=[0],
        target_weights=[1.0],
    )


def many_nodes() -> ModelProto:
    values = ["rows", *(f"v{number}" for number in range(MAX_NODES))]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(values)]
    return model_of([*nodes, helper.make_node("MatMul", [values[-1], "matrix"], ["corrections"])], [MATRIX])


REFUSED = {
    "an initializer in a file": (external(), "external data"),
    "a constant in a file": (external_constant(), "external data"),
    "a function": (function(), "functions"),
    "a branch": (branch(), "a subgraph"),
    "a sparse initializer": (sparse(), "sparse initializers"),
    "a custom operator": (
        model_of([helper.make_node("Own", ["rows"], ["corrections"], domain="own")]),
        "operator 'own.Own'",
    ),
    "two versions of a set of operators": (
        changed(lambda m: m.opset_import.add(domain="", version=3)),
        "operators of ai.onnx of two versions",
    ),
    "a custom set of operators": (changed(lambda m: m.opset_import.add(domain="own", version=1)), "operators of 'own'"),
    "an operator of texts": (model_of([helper.make_node("StringNormalizer", ["rows"], ["corrections"])]), "operator"),
    "random numbers": (model_of([helper.make_node("RandomNormalLike", ["rows"], ["corrections"])]), "operator"),
    "a shape that depends on the numbers": (of_numbers(), "shape of a result of Expand depends on the numbers"),
    "another input": (changed(another_input), "inputs of the graph are 'rows', 'more'; expected one, rows"),
    "another output": (changed(lambda m: m.graph.output.append(m.graph.output[0])), "2 outputs; expected one"),
    "an unknown output": (changed(lambda m: m.graph.output[0].__setattr__("name", "x")), "not one of its values"),
    "a width that rows do not have": (
        changed(lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 7)),
        "another shape than",
    ),
    "texts as an output": (
        changed(lambda m: m.graph.output[0].type.tensor_type.__setattr__("elem_type", TensorProto.STRING)),
        "not a tensor of float32",
    ),
    "a tensor of texts": (
        changed(
            lambda m: m.graph.initializer.append(
                TensorProto(name="t", data_type=TensorProto.STRING, string_data=[b"x"])
            )
        ),
        "texts",
    ),
    "a tensor that is shorter than its shape": (
        changed(lambda m: m.graph.initializer[0].dims.append(2)),
        "more or fewer numbers",
    ),
    "a negative shape": (changed(lambda m: m.graph.initializer[0].dims.__setitem__(0, -1)), "impossible shape"),
    "a value that comes later": (changed(lambda m: m.graph.node[0].input.append("later")), "no earlier node makes"),
    "two values of a name": (changed(lambda m: m.graph.initializer.append(MATRIX)), "two values 'matrix'"),
    "training information": (changed(lambda m: m.training_info.add()), "training information"),
    "a sum that lacks an input": (
        model_of([helper.make_node("Sum", ["rows", "", "rows"], ["corrections"])]),
        "Sum lacks an input",
    ),
    "a recurrent layer": (model_of([helper.make_node("GRU", ["rows"], ["corrections"])]), "operator 'GRU'"),
    "a circle in a tree": (model_of([tree(children=(1, 0))]), "a branch of a tree leads back"),
    "a branch to no node": (model_of([tree(children=(1, 7))]), "a branch of a tree leads back, or to no node"),
    "a node that is listed twice": (model_of([tree(nodes=(0, 1, 1))]), "lists of different lengths, or a node twice"),
    "a deep tree": (model_of([deep_tree(MAX_DEPTH + 1)]), "a tree is deeper than 64 branches"),
    "a tree of more rows than there are": (
        model_of(
            [helper.make_node("Expand", ["rows", "large"], ["copies"]), renamed(tree(), "copies")],
            [constant("large", [90_000, ROW_COLUMNS], np.int64)],
        ),
        "input of TreeEnsembleRegressor is not the rows",
    ),
    "a division that ends the process": (
        model_of(
            [
                helper.make_node("Cast", ["rows"], ["whole"], to=TensorProto.INT64),
                helper.make_node("Identity", ["whole"], ["same"]),
                helper.make_node("Div", ["same", "whole"], ["one"]),
                helper.make_node("Cast", ["one"], ["corrections"], to=TensorProto.FLOAT),
            ]
        ),
        "Div has whole numbers that depend on the rows",
    ),
    "too many nodes": (many_nodes(), "2,001 nodes; expected 2,000 at most"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_graph_is_refused_with_a_sentence(case: str) -> None:
    model, said = REFUSED[case]
    with pytest.raises(ValueError, match=said) as refusal:
        checked_graph(model.SerializeToString())
    assert "\n" not in str(refusal.value)


def test_a_tree_of_the_greatest_depth_is_accepted() -> None:
    checked_graph(model_of([deep_tree(MAX_DEPTH)]).SerializeToString())


def test_a_large_graph_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ValueError, match=f"expected {MAX_BYTES:,} at most"):
        checked_graph(bytes(MAX_BYTES + 1))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="graph"):
        checked_graph(content)


def test_the_runtime_gets_only_what_was_checked() -> None:
    model = tilt()
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "a text for people"
    model.metadata_props.add(key="ort_config", value="{}")
    model.graph.value_info.append(helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [1]))
    checked = onnx.load_from_string(checked_graph(model.SerializeToString()))
    model.opset_import.append(model.opset_import[0])  # as skl2onnx may
    plain = tilt()
    plain.ClearField("producer_name")
    assert checked == plain
    assert checked == onnx.load_from_string(checked_graph(model.SerializeToString()))


def test_a_sound_graph_of_every_operator_is_accepted() -> None:
    model = of_many_kinds()
    checked = checked_graph(model.SerializeToString())
    assert checked_graph(checked) == checked
    used = {(node.domain, node.op_type) for node in model.graph.node}
    assert used == {(domain, name) for domain, names in OPERATORS.items() for name in names}


def test_the_described_fields_are_those_of_onnx() -> None:
    nested: dict[str, Any] = {
        "TensorTypeProto": onnx.TypeProto.Tensor,
        "DimensionProto": onnx.TensorShapeProto.Dimension,
    }
    for message, fields in FIELDS.items():
        descriptor = nested[message].DESCRIPTOR if message in nested else getattr(onnx, message).DESCRIPTOR
        for name, (number, kind) in fields.items():
            theirs = descriptor.fields_by_name[name]
            assert (theirs.number, theirs.is_repeated) == (number, kind.endswith("*")), f"{message}.{name}"
