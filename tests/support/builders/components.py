"""ONNX graphs of components, and bundles that have them, sound and hostile ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tests.support.builders.bundles import light_bundle

from dejavu_models.manifest import COURSES, GraphRecord, Manifest, graph_name, version_of
from dejavu_models.point.graph_component import OnnxGraph, golden_corrections
from dejavu_models.point.rows import ROW_COLUMNS
from dejavu_models.registry.bundle import MANIFEST, read_manifest

NAME = "tilt"
WEIGHT = (0.5, 0.25)
PACKAGE = "dejavu-tilt 1.2.3"


def model_of(
    nodes: Sequence[NodeProto], initializers: Sequence[TensorProto] = (), *, opset: int = 18, **options: Any
) -> ModelProto:
    """Return a model from `rows` to `corrections`."""
    ends = (
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", ROW_COLUMNS])],
        [helper.make_tensor_value_info("corrections", TensorProto.FLOAT, ["n", 2])],
    )
    graph = helper.make_graph(list(nodes), "component", *ends, initializer=list(initializers))
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9, **options)


def constant(name: str, values: Any, kind: type = np.float32) -> TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype=kind), name)


def tilt(factor: float = 0.1) -> ModelProto:
    """Return a model whose corrections are a share of the lead, the last column of the rows."""
    matrix = np.zeros((ROW_COLUMNS, 2))
    matrix[-1] = factor, 2 * factor
    return model_of([helper.make_node("MatMul", ["rows", "matrix"], ["corrections"])], [constant("matrix", matrix)])


def of_lead(operator: str, shift: float = 0.0) -> ModelProto:
    """Return a model whose corrections are a function of the lead plus a number: an operator of one input."""
    model = tilt(0.5)
    model.graph.initializer.append(constant("shift", [shift, shift]))
    model.graph.node[0].output[0] = "lead"
    model.graph.node.append(helper.make_node("Add", ["lead", "shift"], ["shifted"]))
    model.graph.node.append(helper.make_node(operator, ["shifted"], ["corrections"]))
    return model


def tree(
    *, children: tuple[int, int] = (1, 2), nodes: tuple[int, ...] = (0, 1, 2), output: str = "corrections"
) -> NodeProto:
    """Return a tree of one branch on the lead."""
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        [output],
        domain="ai.onnx.ml",
        n_targets=2,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=nodes,
        nodes_featureids=[ROW_COLUMNS - 1, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[children[0], 0, 0],
        nodes_falsenodeids=[children[1], 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 1],
        target_weights=[1.0, 2.0],
    )


def of_many_kinds() -> ModelProto:
    """Return a model with every operator that a component may have, for fuzzing."""
    random = np.random.default_rng(1)
    numbers = {
        "matrix": random.normal(size=(ROW_COLUMNS, 2)) / 100,
        "table": random.normal(size=(49, 2)),
        "half": 0.5,
        "low": -1.0,
        "high": 1.0,
        "scales": np.ones(ROW_COLUMNS),
    }
    whole = {
        "zero": [0],
        "one": [1],
        "two": [2],
        "columns": [ROW_COLUMNS],
        "last": ROW_COLUMNS - 1,
        "axis": 1,
        "halves": [26, 26],
        "pads": [0, 1, 0, 1],
        "cube": [-1, 4, 13],
        "flat_shape": [-1, ROW_COLUMNS],
    }
    nodes = list[NodeProto]()

    def add(operator: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        names = [f"v{len(nodes)}_{number}" for number in range(outputs)]
        nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return names[0]

    value = add("Tanh", "rows")
    value = add("Scaler", value, domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    for operator in UNARY:
        value = add("Tanh", add(operator, add("Add", add("Abs", value), "half")))
    for operator in ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mean", "Sum"):
        value = add("Tanh", add(operator, add("Add", add("Abs", value), "half"), "half"))
    tests = [add(each, value, "half") for each in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")]
    known = add("Not", add("Or", add("And", *tests[:2]), add("IsNaN", value)))
    value = add("Where", known, value, add("ConstantOfShape", add("Shape", value)))
    halves = add("Split", value, "halves", outputs=2, axis=1)
    value = add("Concat", halves, halves.replace("_0", "_1"), axis=1)
    value = add("Reshape", add("Transpose", add("Reshape", value, "cube"), perm=[0, 2, 1]), "flat_shape")
    value = add("Clip", add("CumSum", value, "axis"), "low", "high")
    value = add("LayerNormalization", value, "scales", "scales")
    reduced = [add(each, value, "one") for each in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")]
    wide = add("Expand", add("Sum", *reduced), add("Shape", value))
    value = add("Tanh", add("Slice", add("Pad", add("Add", value, wide), "pads"), "one", "columns", "one"))
    value = add("Concat", value, add("Slice", value, "zero", "one", "one"), axis=1)
    places = add("Mod", add("Cast", add("Gather", "rows", "zero", axis=1), to=TensorProto.INT64), "two")
    of_table = add("Gather", "table", add("Squeeze", places, "one"))
    of_trees = tree(output="of_trees")
    nodes.append(of_trees)
    lead = add("Unsqueeze", add("Gather", "rows", "last", axis=1), "one")
    of_lead = add("LinearRegressor", lead, domain="ai.onnx.ml", coefficients=[0.1, 0.2], targets=2)
    constants = add("Constant", value_floats=[0.1, 0.2])
    product = add("Gemm", add("Flatten", value), "matrix", constants)
    total = add("Sum", product, add("MatMul", value, "matrix"), of_table, "of_trees", of_lead)
    nodes.append(helper.make_node("Identity", [total], ["corrections"]))
    initializers = [constant(name, values) for name, values in numbers.items()]
    initializers += [constant(name, values, np.int64) for name, values in whole.items()]
    return model_of(nodes, initializers, opset=20)


_UNARY: Final = """
Ceil Cos Elu Erf Exp Floor Gelu LeakyRelu Log LogSoftmax Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax
Softplus Sqrt
"""

UNARY: Final = _UNARY.split()
"""Operators of one input that keep its shape."""


def put_graph(
    folder: Path, content: bytes, golden: Sequence[Sequence[float]] | None = None, base: Path | None = None
) -> Manifest:
    """Write a bundle with a component to a folder, without a check.

    Args:
        folder: new folder.
        content: its graph.
        golden: its golden corrections; by default those that it gives.
        base: folder of the bundle without it; by default the light one.
    """
    source = base or light_bundle()
    manifest = read_manifest(source)
    files = {name: (source / name).read_bytes() for name in manifest.all_files}
    files[graph_name(NAME)] = content
    known = golden_corrections(OnnxGraph(content)) if golden is None else tuple(map(tuple, golden))
    graphs = (GraphRecord(name=NAME, weight=WEIGHT, golden=known, package=PACKAGE),)
    hashes = {name: hashlib.sha256(each).hexdigest() for name, each in files.items() if name != COURSES}
    changed = {
        "files": hashes,
        "graphs": graphs,
        "components": (*manifest.components, NAME),
        "version": version_of(manifest.dejavu, manifest.ratings, hashes, graphs),
    }
    manifest = Manifest.model_validate(dict(manifest) | changed)
    folder.mkdir()
    for name, each in files.items():
        (folder / name).write_bytes(each)
    (folder / MANIFEST).write_text(manifest.to_json())
    return manifest
