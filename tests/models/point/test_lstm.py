from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from tests.support.reference.lstm import ReferenceLstm

from dejavu_models.arrays import Floats
from dejavu_models.point.lstm import Lstm


@pytest.fixture(scope="module")
def graph(small_bundle: Path) -> bytes:
    return (small_bundle / "lstm.onnx").read_bytes()


def games(count: int, minutes: int) -> tuple[Floats, Floats]:
    """Returns patterns and expected margins, every other margin unknown."""
    rng = np.random.default_rng(count)
    margins = rng.normal(2, 6, count)
    margins[::2] = np.nan
    return rng.normal(0, 2.5, (count, minutes)).cumsum(axis=1), margins


@pytest.mark.parametrize("minutes", [1, 2, 6, 18, 23, 46])
def test_what_it_says_after_a_minute_does_not_depend_on_later_ones(graph: bytes, minutes: int) -> None:
    lstm = Lstm(graph)
    patterns, margins = games(5, 47)
    whole, part = lstm.residuals(patterns, margins), lstm.residuals(patterns[:, :minutes], margins)
    assert part.shape == (5, minutes, 2)
    assert whole[:, :minutes] == pytest.approx(part, abs=1e-4)


def test_the_compiled_models_compute_what_numpy_does(graph: bytes) -> None:
    patterns, margins = games(64, 47)
    reference = ReferenceLstm(graph).residuals(patterns, margins)
    assert Lstm(graph).residuals(patterns, margins) == pytest.approx(reference, abs=1e-5)


def external_data(model: onnx.ModelProto) -> None:
    """Have a weight read from a file of the machine, as ONNX Runtime would from the working directory."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "signing.key", "offset": "0", "length": "4"}.items():
        tensor.external_data.add(key=key, value=value)


def weight(model: onnx.ModelProto, value: float) -> None:
    tensor = next(each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT)
    tensor.raw_data = np.full(len(tensor.raw_data) // 4, value, dtype="<f4").tobytes()


HOSTILE: dict[str, Callable[[onnx.ModelProto], object]] = {
    "external data": external_data,
    "an operator that the exporter does not write": lambda model: setattr(model.graph.node[-1], "op_type", "Exp"),
    "another domain": lambda model: model.opset_import.add(domain="evil", version=1),
    "a node that the output does not use": lambda model: model.graph.node.add(
        op_type="Identity", input=["steps"], output=["unused"]
    ),
    "a function": lambda model: model.functions.add(name="f", domain=""),
    "a constant that nothing uses": lambda model: model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.zeros(3, dtype=np.float32), "unused")
    ),
    "a subgraph": lambda model: model.graph.node[0].attribute.add(name="body", type=5, g=onnx.GraphProto()),
    "another input": lambda model: model.graph.input.add(name="other"),
    "a shape that its numbers do not fill": lambda model: model.graph.initializer[0].dims.append(2**40),
    "a weight that is no number": lambda model: weight(model, float("nan")),
    "a weight that overflows": lambda model: weight(model, 3e38),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_graph_that_the_exporter_would_not_write_is_refused(
    graph: bytes, change: Callable[[onnx.ModelProto], object]
) -> None:
    model = onnx.ModelProto.FromString(graph)
    change(model)
    with pytest.raises(ValueError):
        Lstm(model.SerializeToString())


@pytest.mark.parametrize("content", [b"no graph", b"", b"\x3a\x00"])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        Lstm(content)
