from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.support.builders.ensembles import lstm
from tests.support.builders.similar_games import steady_lstm

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.components.lstm import MAX_LOG_SCALE, MAX_MEAN, Lstm

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def content() -> bytes:
    return lstm(units=11, members=3).to_bytes()


@pytest.mark.parametrize(
    ("mean", "log_scale", "expected"),
    [(0.5, -0.2, (0.5, -0.2)), (7.0, 2.0, (MAX_MEAN, MAX_LOG_SCALE)), (-7.0, -2.0, (-MAX_MEAN, -MAX_LOG_SCALE))],
)
def test_outputs_are_bounded(mean: float, log_scale: float, expected: tuple[float, float]) -> None:
    made = steady_lstm(mean, log_scale).outputs(np.zeros((2, 3)), np.zeros(2), np.zeros((2, 3, 5), np.float32))
    for output, value in zip(made, expected, strict=True):
        assert output == pytest.approx(np.full((2, 3, 2), value), abs=1e-6)


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.update({name: change(arrays[name])})


def valued(name: str, value: float) -> Callable[[Arrays], object]:
    return changed(name, lambda values: np.full_like(values, value))


HOSTILE: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "an array that nothing uses": (lambda arrays: arrays.update(code=np.zeros(1)), "code is unknown"),
    "no networks": (changed("recurrent", lambda values: values[:0]), "expected up to 16 networks"),
    "too many networks": (changed("recurrent", lambda _: np.zeros((17, 32, 8), np.float32)), "up to 16 networks"),
    "a matrix of another form": (changed("recurrent", lambda _: np.zeros(3, np.float32)), "recurrent has the shape"),
    "a head of another form": (changed("head", lambda values: values[:, :-1]), "head is float32 of shape"),
    "fewer minutes": (changed("spreads", lambda values: values[:, :40]), "spreads is"),
    "fewer mean totals": (changed("mean_totals", lambda values: values[:40]), "mean_totals is float64 of shape"),
    "a mean total that is no number": (valued("mean_totals", float("nan")), "mean_totals must be within"),
    "another type": (changed("bias", lambda values: values.astype(float)), "bias is float64"),
    "a weight that is no number": (valued("input", float("nan")), "input must be within"),
    "a weight that overflows": (valued("bias", 3e38), "bias must be within"),
    "a division by 0": (valued("scale", 0.0), "scale must be at least"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_weights_that_the_trainer_would_not_store_are_refused(
    content: bytes, change: Callable[[Arrays], object], message: str
) -> None:
    arrays = dict(from_npz(content))
    change(arrays)
    with pytest.raises(ValueError, match=message):
        Lstm.from_bytes(to_npz(**arrays))


@pytest.mark.parametrize("name", ["bias", "mean_totals"])
def test_a_missing_array_is_named(content: bytes, name: str) -> None:
    arrays = dict(from_npz(content))
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        Lstm.from_bytes(to_npz(**arrays))
