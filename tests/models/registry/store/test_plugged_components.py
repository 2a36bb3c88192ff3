"""Components that plug in are allowed by the operator, and verified by another process before a worker has them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper
from tests.models.point.test_onnx_graph import external
from tests.support.builders.bundles import light_bundle
from tests.support.builders.components import NAME, WEIGHT, constant, model_of, of_lead, put_graph, tilt

from dejavu_models.errors import BundleCorrupt, BundleUnfit, ComponentsRefused
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.manifest import GraphRecord, graph_name
from dejavu_models.point.graph_component import GOLDEN_ROWS
from dejavu_models.point.rows import ROW_COLUMNS, checked_rows
from dejavu_models.registry.allowed import check_allowed
from dejavu_models.registry.bundle import load_bundle, read_manifest
from dejavu_models.registry.contents import check_component
from dejavu_models.registry.store.store import ModelStore
from dejavu_models.registry.store.verification import verify

ZEROS = ((0.0, 0.0),) * len(checked_rows()[GOLDEN_ROWS])
TWO = constant("two", np.ones((ROW_COLUMNS, 2)))


def wrong_shape() -> ModelProto:
    return model_of(
        [helper.make_node("MatMul", ["rows", "three"], ["corrections"])], [constant("three", np.ones((ROW_COLUMNS, 3)))]
    )


def expanded(side: int, products: int) -> ModelProto:
    """Return a graph that multiplies large matrices, which are not in the file, or adds them up."""
    shape, ends = constant("shape", [side, side], np.int64), constant("cut", [2], np.int64)
    nodes = [
        helper.make_node("ReduceMean", ["rows"], ["mean"], keepdims=1),
        helper.make_node("Expand", ["mean", "shape"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"m{each}", "m0"], [f"m{each + 1}"]) for each in range(products)]
    nodes += [
        helper.make_node("Slice", [f"m{products}", "zero", "cut", "one"], ["part"]),
        helper.make_node("Slice", ["part", "zero", "one", "zero"], ["pair"]),
        helper.make_node("MatMul", ["rows", "two"], ["of_rows"]),
        helper.make_node("Add", ["of_rows", "pair"], ["corrections"]),
    ]
    more = [constant("zero", [0], np.int64), constant("one", [1], np.int64)]
    return model_of(nodes, [shape, ends, TWO, *more])


def constants(products: int) -> ModelProto:
    """Return a graph that has the runtime multiply matrices while it is loaded."""
    nodes = [helper.make_node("Expand", ["unit", "shape"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{each}", "m0"], [f"m{each + 1}"]) for each in range(products)]
    nodes += [
        helper.make_node("ReduceMean", [f"m{products}"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("MatMul", ["rows", "two"], ["of_rows"]),
        helper.make_node("Add", ["of_rows", "nothing"], ["corrections"]),
    ]
    numbers = [constant("unit", [1e-3]), constant("zero", 0.0), constant("shape", [1000, 1000], np.int64)]
    return model_of(nodes, [*numbers, TWO])


REFUSED = {
    "NaN": (of_lead("Log"), "component tilt is refused: a correction is not a finite number"),
    "too large": (tilt(1e6), r"component tilt is refused: a correction has \d+ points; expected at most 1000"),
    "another shape": (wrong_shape(), r"component tilt is refused: the result for 1 rows has the shape \(1, 3\)"),
    "another answer": (tilt(0.2), "component tilt is refused: its corrections are not the golden ones"),
    "a tenth of a second": (
        expanded(1000, 12),
        "component tilt is refused: a row takes .* s; expected at most 0.005 s",
    ),
    "seconds of loading": (constants(400), "component tilt is refused: loading it takes .* s; expected at most 1 s"),
}

REFUSED_BY_THE_PROCESS = [
    (external(), "component-tilt.onnx cannot be read: the graph has external data"),
    (expanded(16_000, 0), "component tilt is refused: ONNX Runtime fails: .*"),
    pytest.param(
        expanded(1500, 1500), "loading component tilt takes more than 10 s of CPU time", marks=pytest.mark.nightly
    ),
]
"""External data, a gigabyte of memory, and ten seconds."""


@pytest.mark.parametrize(
    "case", [pytest.param(each, marks=[pytest.mark.nightly] if "seconds" in each else []) for each in REFUSED]
)
def test_a_component_is_refused_with_a_sentence(case: str) -> None:
    model, said = REFUSED[case]
    record = GraphRecord(name=NAME, weight=WEIGHT, golden=ZEROS)
    with pytest.raises(BundleCorrupt, match=said) as refusal:
        check_component(record, {graph_name(NAME): model.SerializeToString()})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("model", "said"), REFUSED_BY_THE_PROCESS, ids=["a file", "a gigabyte", "ten seconds"])
def test_the_process_that_verifies_refuses_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: ModelProto, said: str
) -> None:
    """The file that the graph names lies in the working directory, as the signing key of a server once did."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signing.key").write_bytes(bytes(4 * 2 * ROW_COLUMNS))
    put_graph(tmp_path / "bundle", model.SerializeToString(), ZEROS)
    with pytest.raises(BundleCorrupt, match=said) as refusal:
        verify(tmp_path / "bundle")
    assert "\n" not in str(refusal.value)


def test_it_is_served_only_where_the_operator_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = put_graph(tmp_path / "bundle", tilt().SerializeToString())
    refusal = f"model {manifest.version} has components that plug in: {NAME} (allow them by --allow-components)"
    with pytest.raises(ComponentsRefused) as refused:
        load_bundle(tmp_path / "bundle")
    assert str(refused.value) == f"{tmp_path / 'bundle'}: {refusal}"
    with pytest.raises(ComponentsRefused, match="--allow-components"):
        ModelStore.open(tmp_path / "store").put(tmp_path / "bundle")
    allowing = ModelStore.open(tmp_path / "store", allow_components=True)
    version = allowing.put(tmp_path / "bundle")
    with pytest.raises(ComponentsRefused, match="--allow-components"):
        ModelStore.open(tmp_path / "store").load(version)
    query = ForecastQuery(ScorePattern((2.0, 5.0, 8.0)), explain=True)
    explained = allowing.load(version).forecast(query)
    assert explained.explanation is not None
    [row] = explained.explanation.components
    assert row.name == NAME
    assert row.prediction == pytest.approx(explained.point + WEIGHT[0] * 0.1 * 8.0)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(
        ComponentsRefused, match=r"need onnxruntime, which is not installed: pip install .*\[components\]"
    ):
        load_bundle(tmp_path / "bundle", allow_components=True)


def test_an_unfit_bundle_with_components_names_both_options(tmp_path: Path) -> None:
    manifest = put_graph(tmp_path / "bundle", tilt().SerializeToString())
    unfit = manifest.model_copy(update={"verdict": manifest.verdict.model_copy(update={"fit": False})})
    with pytest.raises(BundleUnfit, match=r"\(allow it by --allow-unfit, and its components by --allow-components\)"):
        check_allowed(unfit, "", unfit=False, components=False)


def test_a_weight_is_part_of_the_version_and_a_bundle_without_components_stays_what_it_was(tmp_path: Path) -> None:
    put_graph(tmp_path / "bundle", tilt().SerializeToString())
    text = (tmp_path / "bundle" / "manifest.json").read_text()
    (tmp_path / "bundle" / "manifest.json").write_text(text.replace("0.25", "0.75"))
    with pytest.raises(BundleCorrupt, match="version does not match"):
        load_bundle(tmp_path / "bundle", allow_components=True)
    light = read_manifest(light_bundle())
    assert light.to_json() == (light_bundle() / "manifest.json").read_text()
    assert "graphs" not in light.to_json()
