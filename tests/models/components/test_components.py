"""Components of a bundle alone: linear models, LSTM, graphs of similar games (their recall: test_dejavu.py)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.support.builders.folds import steady_lstm
from tests.support.builders.shipped import shipped_bundle

from dejavu_models.arrays import Singles
from dejavu_models.components.graph import Graph, build_graph, search
from dejavu_models.components.lstm import MAX_LOG_SCALE, MAX_MEAN
from dejavu_models.errors import FitError
from dejavu_models.types import HORIZONS, Horizon


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("margin", [math.nan, 0.0, 12.0])
def test_a_larger_lead_is_never_forecast_to_be_worth_less(margin: float, line: bool) -> None:
    """Also beyond the leads of all games: after two minutes, the cube of a lead of 30 once made it −32."""
    linear, leads = shipped_bundle().models.linear, np.arange(-200.0, 201.0)
    for minute in range(1, 48):
        increments = linear.increments(minute, leads, np.full_like(leads, margin), line=line)
        assert np.diff(leads + increments[:, HORIZONS.index(Horizon.FINAL)]).min() > -0.25, minute


@pytest.mark.parametrize(
    ("mean", "log_scale", "expected"),
    [(0.5, -0.2, (0.5, -0.2)), (7.0, 2.0, (MAX_MEAN, MAX_LOG_SCALE)), (-7.0, -2.0, (-MAX_MEAN, -MAX_LOG_SCALE))],
)
def test_outputs_are_bounded(mean: float, log_scale: float, expected: tuple[float, float]) -> None:
    made = steady_lstm(mean, log_scale).outputs(np.zeros((2, 3)), np.zeros(2), np.zeros((2, 3, 5), np.float32))
    for output, value in zip(made, expected, strict=True):
        assert output == pytest.approx(np.full((2, 3, 2), value), abs=1e-6)


COUNT, DIMENSIONS = 2000, 9


def points(count: int, seed: int) -> Singles:
    return np.random.default_rng(seed).normal(0, 6, (count, DIMENSIONS)).astype(np.float32)


@cache
def graph() -> Graph:
    return build_graph(points(COUNT, 1), 0)


@pytest.mark.parametrize("far", [0.0, 60.0, 1e5])
def test_every_search_finds_as_many_as_requested(far: float) -> None:
    """Also for a vector unlike any other, and if all are requested."""
    found, _ = search(graph(), COUNT).nearest(points(1, 5) + np.float32(far), COUNT)
    assert sorted(found[0].tolist()) == list(range(COUNT))


def test_equal_vectors_that_fall_apart_are_a_failed_fit() -> None:
    with pytest.raises(FitError, match="parts that a search does not reach"):
        build_graph(np.repeat(points(2, 0), 600, axis=0), 0)


def of_equal_lists(levels: np.ndarray, length: int) -> dict[str, object]:
    """The arrays of a graph of these levels in which each list links the first vector, `length` times."""
    lists = len(levels) + int(levels.sum())
    counts = np.full(lists, length, dtype=np.uint16)
    return {"levels": levels, "counts": counts, "links": np.zeros(lists * length, dtype=np.uint16)}


def broken() -> dict[str, dict[str, object]]:
    """Arrays that do not fit the others of a graph, by the error message."""
    far, links, levels = graph().links.copy(), graph().links.copy(), graph().levels
    far[3] = COUNT
    low = np.flatnonzero(levels == 0)[0]
    links[-1] = int(low)
    return {
        "a list has more than 64 links": of_equal_lists(np.zeros_like(levels), 65),
        "above level 0 there are more than 4000": of_equal_lists(np.ones_like(levels), 3),
        "above level 0 there are more than 4000 lists": of_equal_lists(np.full_like(levels, 3), 1),
        "a link leads past": {"links": far},
        "not at its level": {"links": links},
        "the entry point is not": {"entry": np.array([low], dtype=np.uint16)},
        "do not fit together": {"counts": graph().counts[:-1]},
        "vectors is float32": {"vectors": graph().vectors[:-1]},
        "vectors is float64": {"vectors": graph().vectors.astype(float)},
        "vectors must be within": {"vectors": np.full_like(graph().vectors, np.nan)},
        "vectors must be within ±1e": {"vectors": graph().vectors * np.float32(1e30)},
        "levels is": {"levels": levels.astype(np.int8)},
    }


@pytest.mark.parametrize("said", broken())
def test_arrays_are_checked(said: str) -> None:
    """Otherwise a search would read anywhere in memory, or take seconds for some games."""
    with pytest.raises(ValueError, match=said):
        replace(graph(), **broken()[said])  # type: ignore[arg-type]
