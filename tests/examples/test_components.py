"""The examples of components, fitted to a few games: what is served is what was fitted."""

from __future__ import annotations

import importlib
import tomllib
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import simulated_games
from tests.support.harness.documents import ROOT, blocks

from dejavu_models.point.graph_component import OnnxGraph
from dejavu_models.point.onnx_graph import checked_graph
from dejavu_models.point.rows import INPUT, ROW_COLUMNS
from dejavu_trainer.training.components import GROUP, ComponentChoice, ComponentGames, ComponentParts, fit_component
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames

EXAMPLES = ROOT / "examples" / "components"

LIMITS: dict[str, dict[str, int]] = {"boosted": {"ROWS": 1000}, "transformer": {"ROWS": 300, "EPOCHS": 1}}
"""Example → its constants, so that a fit takes a second."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["boosted", "transformer"])
def test_an_example_is_fitted_and_its_graph_is_served(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project: dict[str, Any] = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())["project"]
    [(entry, place)] = project["entry-points"][GROUP].items()
    assert entry == name
    monkeypatch.syspath_prepend(str(EXAMPLES / name))
    module, kind = place.split(":")
    loaded = importlib.import_module(module)
    for constant, value in LIMITS[name].items():
        monkeypatch.setattr(loaded, constant, value)
    monkeypatch.setattr("dejavu_trainer.training.components._entry_point", lambda _: _Entry(getattr(loaded, kind)))
    some = simulated_games().of_seasons([2031])
    margins = np.linspace(-8.0, 8.0, len(some))
    games = ComponentGames.of(fit_linear(some, margins), RatedGames(some, margins))
    parts = ComponentParts(games, games, games)
    trained = fit_component(ComponentChoice(name, "", "", ""), parts, (12,), 0, lambda _: None)
    assert trained.parity < 1e-3
    assert all(0 <= weight <= 1 for weight in trained.weight)
    rows, _ = games.sample(60, 3)
    graph = OnnxGraph(trained.content)
    one_by_one = np.concatenate([graph.corrections(rows[place : place + 1]) for place in range(len(rows))])
    np.testing.assert_allclose(graph.corrections(rows), one_by_one, atol=1e-4)


def test_the_component_of_the_document_is_what_it_says() -> None:
    [block] = blocks("docs/components.md", "python")
    defined: dict[str, Any] = {}
    exec(block.text, defined)
    some = simulated_games().of_seasons([2031])
    margins = np.linspace(-8.0, 8.0, len(some))
    games = ComponentGames.of(fit_linear(some, margins), RatedGames(some, margins))
    model = defined["MyRidge"]().fit(games, 0)
    rows, _ = games.sample(200, 1)
    graph = OnnxGraph(checked_graph(model.to_onnx()))
    np.testing.assert_allclose(graph.corrections(rows), model.predict(rows), atol=1e-4)


class _Entry:
    """An entry point of a component that is not installed."""

    def __init__(self, component: Any) -> None:
        self._component = component

    def load(self) -> Any:
        return self._component


@pytest.mark.parametrize("name", ["linear", "principal components", "random forest"])
def test_usual_models_of_scikit_learn_are_served(name: str) -> None:
    from skl2onnx import to_onnx  # imported late: it takes seconds
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models: dict[str, Any] = {
        "linear": make_pipeline(StandardScaler(), Ridge()),
        "principal components": make_pipeline(PCA(5), Ridge()),
        "random forest": RandomForestRegressor(5, max_depth=4, random_state=1),
    }
    model = models[name]
    rows = np.random.default_rng(3).normal(size=(200, ROW_COLUMNS)).astype(np.float32)
    model.fit(rows, rows[:, :2] * [0.5, -1.0])
    ends = [(INPUT, FloatTensorType([None, ROW_COLUMNS]))]
    content = to_onnx(model, initial_types=ends, target_opset={"": 18, "ai.onnx.ml": 3}).SerializeToString()
    graph = OnnxGraph(checked_graph(content))
    np.testing.assert_allclose(graph.corrections(rows), model.predict(rows), atol=1e-4)
