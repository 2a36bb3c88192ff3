"""One game alone gets the numbers of a batch of one, to the last bit."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.point.batch import GameBatch
from dejavu_models.point.dejavu import Dejavu, Kernel
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.index import BruteForceIndex, HnswIndex, build_hnsw
from dejavu_models.point.single import SingleGameModels
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import HORIZONS, MAX_SLOTS

MODELS = load_bundle(default_bundle()).models
MARGINS = st.none() | st.floats(-30, 30)


def batch_of_one(models: PointEnsemble, pattern: tuple[float, ...], margin: float | None) -> list[float]:
    margins = np.array([math.nan if margin is None else margin])
    forecasts: list[float] = models.predict(np.array([pattern]), margins).ensemble[0].tolist()
    return forecasts


def assert_equal(models: PointEnsemble, pattern: tuple[float, ...], margin: float | None) -> None:
    alone = SingleGameModels(models).predict(pattern, margin).ensemble
    batched = batch_of_one(models, pattern, margin)
    for horizon, one, other in zip(HORIZONS, alone, batched, strict=True):
        assert one == other or len(pattern) > horizon.last_slot


@given(st.lists(st.floats(-60, 60), min_size=1, max_size=MAX_SLOTS).map(tuple), MARGINS)
def test_any_pattern_gets_the_numbers_of_a_batch(pattern: tuple[float, ...], margin: float | None) -> None:
    assert_equal(MODELS, pattern, margin)


@given(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), MARGINS)
def test_a_game_gets_the_numbers_of_a_batch_at_every_minute(minute: int, seed: int, margin: float | None) -> None:
    rng = random.Random(seed)
    assert_equal(MODELS, tuple(map(float, accumulate(rng.choices((-3, -2, 0, 2, 3), k=minute)))), margin)


def database(kernel: Kernel, index: str) -> Dejavu:
    """Returns a database of 200 patterns at minute 12 of the bundle that ships."""
    shipped = MODELS.minutes[12]
    vectors = np.random.default_rng(0).normal(0, 5, (200, 12)).astype(np.float32)
    made = BruteForceIndex(vectors) if index == "brute force" else HnswIndex(build_hnsw(vectors, seed=0))
    return Dejavu(made, shipped.entries.rows(0, 200), replace(shipped.settings, kernel=kernel, neighbours=20))


@pytest.mark.parametrize("kernel", Kernel)
@pytest.mark.parametrize("index", ["brute force", "a graph of an earlier release"])
def test_every_kernel_and_kind_of_index_gives_the_numbers_of_a_batch(kernel: Kernel, index: str) -> None:
    models = replace(MODELS, minutes={12: database(kernel, index)})
    rng = random.Random(1)
    for _ in range(100):
        assert_equal(models, tuple(map(float, accumulate(rng.choices((-3, -2, 0, 2, 3), k=12)))), rng.uniform(-10, 10))


@pytest.mark.parametrize("steps", [False, True])
@given(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), MARGINS)
def test_it_is_explained_as_a_batch_is(steps: bool, minute: int, seed: int, margin: float | None) -> None:
    pattern = tuple(map(float, accumulate(random.Random(seed).choices((-3, -2, 0, 2, 3), k=minute))))
    alone = SingleGameModels(MODELS).predict(pattern, margin).explained(steps=steps)
    batched = GameBatch([(pattern, margin)], MODELS, {0: steps}).explained(0)
    assert (alone.row, alone.steps) == (batched.row, batched.steps)
    np.testing.assert_array_equal(alone.earlier, batched.earlier)
    one, other = alone.predictions, batched.predictions
    assert one.minute == other.minute
    for name in ("persistence", "linear", "dejavu", "lstm", "ensemble"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("entries", "distances", "residuals"):
        np.testing.assert_array_equal(getattr(one.neighbourhoods, name), getattr(other.neighbourhoods, name))


def test_a_minute_without_a_database_is_refused() -> None:
    models = SingleGameModels(replace(MODELS, minutes={12: MODELS.minutes[12]}))
    with pytest.raises(KeyError):
        models.predict((0.0,) * 13, None)
