"""The examples of components, fitted to a few games: what is served is what was fitted."""

from __future__ import annotations

import importlib
import tomllib
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import simulated_games
from tests.support.harness.documents import ROOT

from dejavu_models.point.graph_component import OnnxGraph
from dejavu_trainer.training.components import GROUP, ComponentChoice, ComponentGames, ComponentParts, fit_component
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames

EXAMPLES = ROOT / "examples" / "components"

LIMITS: dict[str, dict[str, int]] = {"boosted": {"ROWS": 1000}, "transformer": {"ROWS": 300, "EPOCHS": 1}}
"""Example → its constants, so that a fit takes a second."""


@pytest.mark.parametrize("name", LIMITS)
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


class _Entry:
    """An entry point of a component that is not installed."""

    def __init__(self, component: Any) -> None:
        self._component = component

    def load(self) -> Any:
        return self._component
