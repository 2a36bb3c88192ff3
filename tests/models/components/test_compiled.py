"""The compiled models give the numbers of vectorised NumPy: one game alone, and many together."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.shipped import shipped_bundle
from tests.support.reference.batch import BatchedGame, GameBatch
from tests.support.reference.lstm import ReferenceLstm

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components.compiled import CompiledGame, compiled_models
from dejavu_models.components.dejavu import Dejavu, Kernel
from dejavu_models.components.index import BruteForceIndex
from dejavu_models.components.models import PointModels
from dejavu_models.manifest import LSTM
from dejavu_models.types import HORIZONS, MAX_SLOTS, Explanation
from dejavu_store.registry import default_bundle


class ReferenceIndex(BruteForceIndex):
    """Compares all vectors, (m, dimensions), by NumPy; see `VectorIndex`."""

    def __init__(self, vectors: Singles) -> None:
        super().__init__(vectors)
        self.vectors = vectors

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        squares = np.square(vectors[:, None].astype(float) - self.vectors).sum(axis=2)
        found = np.argsort(squares, axis=1, kind="stable")[:, :count]
        return found, np.take_along_axis(squares, found, axis=1)


def with_line(models: PointModels) -> PointModels:
    """Return models whose coefficients for the line differ from those for ratings."""
    coefficients = models.linear.coefficients.copy()
    coefficients[:, :, 2] *= 1.25
    return replace(models, linear=replace(models.linear, coefficients=coefficients))


FORECASTER = shipped_bundle()
MODELS = with_line(FORECASTER.models)
MARGINS = st.none() | st.floats(-30, 30)
POINTS = 1e-5
"""Greatest difference, in points: the LSTM sums in another order than NumPy."""


COMPILED = compiled_models(MODELS)


@cache
def reference() -> PointModels:
    """Return the bundle's point models with an LSTM by NumPy."""
    return replace(MODELS, lstm=ReferenceLstm((default_bundle() / LSTM).read_bytes()))


def walk(minutes: int, seed: int) -> tuple[float, ...]:
    """Return a pattern without equally near games: for the last place, the searches could choose different ones."""
    rng = random.Random(seed)
    return tuple(accumulate(rng.choice((-3, -2, 0, 2, 3)) + rng.uniform(-0.4, 0.4) for _ in range(minutes)))


def assert_equal(one: CompiledGame, other: CompiledGame | BatchedGame, minutes: int, tolerance: float = POINTS) -> None:
    for index, horizon in enumerate(HORIZONS):
        if minutes <= horizon.last_slot:
            assert one.point(index) == pytest.approx(other.point(index), abs=tolerance)


@given(st.lists(st.floats(-60, 60), min_size=1, max_size=MAX_SLOTS).map(tuple), MARGINS)
def test_any_pattern_gets_the_numbers_of_numpy(pattern: tuple[float, ...], margin: float | None) -> None:
    for line in (False, True):
        [expected] = GameBatch([(pattern, margin)], reference(), line=line).games
        assert_equal(COMPILED.predict(pattern, margin, line=line), expected, len(pattern))


def test_a_line_has_linear_models_of_its_own() -> None:
    pattern = walk(12, 0)
    points = [COMPILED.predict(pattern, 8.0, line=line).point(1) for line in (False, True)]
    coefficients = MODELS.linear.coefficients[1, 12] @ [1.0, pattern[-1], 8.0, pattern[-1] ** 3 / 1000]
    assert points[1] - points[0] == pytest.approx(coefficients[2] - coefficients[1])
    assert points[1] != points[0]
    unknown = [COMPILED.predict(pattern, None, line=line).point(1) for line in (False, True)]
    assert unknown[0] == unknown[1]


@pytest.mark.parametrize("line", [False, True])
@given(st.lists(st.tuples(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), MARGINS), min_size=1, max_size=12))
def test_many_games_get_what_each_gets_alone(line: bool, games: list[tuple[int, int, float | None]]) -> None:
    asked = [(walk(minutes, seed), margin, line) for minutes, seed, margin in games]
    offsets = np.array([0, *accumulate(minutes for minutes, _, _ in games)])
    patterns = np.concatenate([pattern for pattern, _, _ in asked])
    margins = np.array([math.nan if margin is None else margin for _, margin, _ in asked])
    together, columns = COMPILED.predict_many(asked), COMPILED.points(patterns, offsets, margins, line=line)
    for (pattern, margin, _), game, row in zip(asked, together, columns, strict=True):
        alone = COMPILED.predict(pattern, margin, line=line)
        assert_equal(game, alone, len(pattern), tolerance=0)
        for index, horizon in enumerate(HORIZONS):
            assert row[index] == alone.point(index) or len(pattern) > horizon.last_slot


def database(kernel: Kernel) -> Dejavu:
    """Return a database of 200 random patterns at minute 12, with entries of the shipped bundle."""
    shipped = MODELS.minutes[12]
    vectors = np.random.default_rng(0).normal(0, 5, (200, 12)).astype(np.float32)
    settings = replace(shipped.settings, kernel=kernel, neighbours=20)
    return Dejavu(ReferenceIndex(vectors), shipped.entries.rows(0, 200), settings)


@pytest.mark.parametrize("kernel", Kernel)
@given(st.integers(0, 2**32), MARGINS)
def test_every_kernel_gives_the_numbers_of_numpy(kernel: Kernel, seed: int, margin: float | None) -> None:
    models = replace(reference(), minutes={12: database(kernel)})
    [expected] = GameBatch([(walk(12, seed), margin)], models).games
    game = compiled_models(replace(MODELS, minutes=models.minutes)).predict(walk(12, seed), margin)
    for index in range(len(HORIZONS)):
        compiled, plain = (each.explanation(index, game.point(index), 700) for each in (game, expected))
        assert_explained_alike(compiled, plain)


@given(st.integers(1, MAX_SLOTS), st.integers(0, 2**32), MARGINS, st.booleans())
def test_it_is_explained_as_by_numpy(minute: int, seed: int, margin: float | None, line: bool) -> None:
    pattern = walk(minute, seed)
    [batched] = GameBatch([(pattern, margin)], reference(), line=line).games
    alone = COMPILED.predict(pattern, margin, line=line)
    for index, horizon in enumerate(HORIZONS):
        if minute <= horizon.last_slot:
            point = alone.point(index) + 0.25  # as shifted by live inputs
            compiled, plain = (game.explanation(index, point, 700) for game in (alone, batched))
            assert_explained_alike(compiled, plain)


def assert_explained_alike(one: Explanation, other: Explanation) -> None:
    assert one.calibration_games == other.calibration_games
    parts, expected = (
        [
            *(part.prediction for part in each.components),
            *(part.weight for part in each.components),
            each.baseline_prediction,
            each.attribution.before_tipoff,
            *each.attribution.minutes,
        ]
        for each in (one, other)
    )
    assert parts == pytest.approx(expected, abs=POINTS, rel=0)
    distances, expected = ([game.distance for game in each.similar_games] for each in (one, other))
    assert distances == pytest.approx(expected, rel=1e-6)
    games, expected_games = ([replace(game, distance=0.0) for game in each.similar_games] for each in (one, other))
    assert games == expected_games


def test_a_minute_without_a_database_is_refused() -> None:
    models = compiled_models(replace(MODELS, minutes={12: MODELS.minutes[12]}))
    with pytest.raises(KeyError, match="minute 13"):
        models.predict((0.0,) * 13, None)
    with pytest.raises(KeyError, match="minute 48"):
        models.predict_many([((0.0,) * 12, None, False), ((0.0,) * 48, None, False)])
    with pytest.raises(ValueError, match="offsets"):
        models.points(np.zeros(24), np.array([0, 12, 25]), np.zeros(2))


def test_records_that_do_not_follow_one_another_are_refused() -> None:
    shipped = MODELS.minutes[12]
    backwards = Dejavu(shipped.index, shipped.entries, shipped.settings)
    backwards.records = backwards.records[::-1]
    with pytest.raises(ValueError, match="contiguous"):
        compiled_models(replace(MODELS, minutes={12: backwards}))
    with pytest.raises(ValueError, match="read-only"):
        shipped.records["games"] = 1
