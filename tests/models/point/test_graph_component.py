"""Rows describe games to components, whose corrections depend on one row alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.components import constant, model_of, of_lead, tilt

from dejavu_models.point.graph_component import GraphComponent, GraphGame, OnnxGraph, golden_corrections
from dejavu_models.point.rows import LEVELS, LINEAR, MARGIN, MARGIN_KNOWN, MINUTE, checked_rows, rows_of
from dejavu_models.types import MAX_SLOTS

LEADS = st.floats(-60, 60, width=32)


@given(st.lists(LEADS, min_size=1, max_size=MAX_SLOTS), st.none() | st.floats(-30, 30, width=32))
def test_a_row_says_minute_margin_and_every_differential(pattern: list[float], margin: float | None) -> None:
    minute = len(pattern)
    given_margin = np.array([np.nan if margin is None else margin])
    increments = np.array([[1.5 if minute <= 23 else np.nan, -2.5]])
    [row] = rows_of(np.array([pattern]), given_margin, increments)
    assert (row[MINUTE], row[MARGIN], row[MARGIN_KNOWN]) == (minute, margin or 0.0, margin is not None)
    assert row[LINEAR].tolist() == [1.5 if minute <= 23 else 0.0, -2.5]
    assert row[LEVELS].tolist() == [*pattern, *[pattern[-1]] * (MAX_SLOTS - minute)]


@given(st.lists(st.tuples(st.integers(1, MAX_SLOTS), LEADS), min_size=1, max_size=40), st.randoms())
def test_many_rows_have_the_corrections_of_each_alone(games: list[tuple[int, float]], random: object) -> None:
    graph = OnnxGraph(of_lead("Tanh").SerializeToString())
    rows = np.concatenate([rows_of(np.full((1, m), lead), np.array([np.nan]), np.zeros((1, 2))) for m, lead in games])
    together = graph.corrections(rows)
    apart = np.concatenate([graph.corrections(rows[place : place + 1]) for place in range(len(rows))])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_the_rows_of_the_check_are_of_every_minute_and_of_the_largest_leads() -> None:
    rows = checked_rows()
    assert set(rows[:, MINUTE]) == set(range(1, MAX_SLOTS + 1))
    assert (rows[:, -1].min(), rows[:, -1].max()) == (-200, 200)
    assert np.isfinite(rows).all()


def test_a_component_that_fails_costs_its_own_prediction_only() -> None:
    """A graph may fail for numbers that the check did not have, such as places that an embedding lacks."""
    sound, weight = OnnxGraph(tilt(0.1).SerializeToString()), (1.0, 1.0)
    embedding = of_lead("Neg")
    embedding.graph.node[-1].op_type = "Cast"
    embedding.graph.node[-1].attribute.add(name="to", i=7, type=2)
    embedding.graph.node[-1].output[0] = "place"
    embedding.graph.node.add(op_type="Gather", input=["table", "place"], output=["corrections"])
    embedding.graph.initializer.append(constant("table", np.zeros(9)))
    failing = OnnxGraph(embedding.SerializeToString())
    components = tuple(GraphComponent(*each, weight) for each in (("sound", sound), ("failing", failing)))
    failures = list[tuple[str, str]]()

    def failed(component: str, reason: str) -> None:
        failures.append((component, reason))

    assert [each.name for each in GraphGame(components, (4.0,), 1.5).predictions([0.0, 0.0], 0, 4.0, failed)] == [
        "sound",
        "failing",
    ]
    assert not failures
    [row] = GraphGame(components, (40.0,), None).predictions([0.0, 0.0], 1, 41.0, failed)
    assert row.name == "sound"
    assert row.prediction == pytest.approx(41.0 + 0.2 * 40)
    [(component, reason)] = failures
    assert component == "failing"
    assert "out of" in reason


def test_golden_corrections_are_those_of_the_check() -> None:
    graph = OnnxGraph(tilt(0.1).SerializeToString())
    GraphComponent("tilt", graph, (1.0, 1.0)).check(golden_corrections(graph))
    with pytest.raises(ValueError, match="not the golden ones"):
        GraphComponent("tilt", graph, (1.0, 1.0)).check(golden_corrections(OnnxGraph(tilt(0.11).SerializeToString())))
    with pytest.raises(ValueError, match="not the golden ones"):
        GraphComponent("tilt", graph, (1.0, 1.0)).check(golden_corrections(graph)[:1])


def test_the_runtime_prints_nothing_for_a_graph_that_it_refuses(capfd: pytest.CaptureFixture[str]) -> None:
    model = model_of(
        [tilt().graph.node[0]],
        [constant("matrix", np.ones((3, 2)))],
    )
    with pytest.raises(ValueError, match="ONNX Runtime"):
        OnnxGraph(model.SerializeToString()).corrections(checked_rows()[:1])
    assert capfd.readouterr() == ("", "")
