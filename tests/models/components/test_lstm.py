from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.reference.lstm import ReferenceLstm

from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.lstm import Lstm

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def content(small_bundle: Path) -> bytes:
    return (small_bundle / "lstm.npz").read_bytes()


def games(count: int, minutes: int) -> tuple[Floats, Floats]:
    """Return patterns and expected margins, every other margin unknown."""
    rng = np.random.default_rng(count)
    margins = rng.normal(2, 6, count)
    margins[::2] = np.nan
    return rng.normal(0, 2.5, (count, minutes)).cumsum(axis=1), margins


@pytest.mark.parametrize("minutes", [1, 2, 6, 18, 23, 46])
def test_what_it_says_after_a_minute_does_not_depend_on_later_ones(content: bytes, minutes: int) -> None:
    lstm = Lstm(content)
    patterns, margins = games(5, 47)
    whole, part = lstm.residuals(patterns, margins), lstm.residuals(patterns[:, :minutes], margins)
    assert part.shape == (5, minutes, 2)
    assert whole[:, :minutes] == pytest.approx(part, abs=1e-4)


def test_the_compiled_models_compute_what_numpy_does(content: bytes) -> None:
    patterns, margins = games(64, 47)
    reference = ReferenceLstm(content).residuals(patterns, margins)
    assert Lstm(content).residuals(patterns, margins) == pytest.approx(reference, abs=1e-5)


def resized(name: str, size: int) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.update({name: arrays[name][..., :size]})


def valued(name: str, value: float) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.update({name: np.full_like(arrays[name], value)})


HOSTILE: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "an array that nothing uses": (lambda arrays: arrays.update(code=np.zeros(1)), "code is unknown"),
    "no networks": (lambda arrays: arrays.update(head=arrays["head"][:0]), "expected up to 16 networks"),
    "too many networks": (lambda arrays: arrays.update(head=np.zeros((17, 8, 2), np.float32)), "up to 16 networks"),
    "a head of another form": (lambda arrays: arrays.update(head=np.zeros(3, np.float32)), "head has the shape"),
    "a wrong shape": (resized("recurrent", 7), "recurrent is float32 of shape"),
    "fewer minutes": (lambda arrays: arrays.update(spreads=arrays["spreads"][:, :40]), "spreads is"),
    "another type": (lambda arrays: arrays.update(bias=arrays["bias"].astype(float)), "bias is float64"),
    "a weight that is no number": (valued("input", float("nan")), "input must be within"),
    "a weight that overflows": (valued("bias", 3e38), "bias must be within"),
    "corrections beyond any game": (valued("spreads", 1e6), "corrections of .* points, more than 1000"),
    "a division by 0": (valued("scale", 0.0), "scale must be at least"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_weights_that_the_trainer_would_not_store_are_refused(
    content: bytes, change: Callable[[Arrays], object], message: str
) -> None:
    arrays = dict(from_npz(content))
    change(arrays)
    with pytest.raises(ValueError, match=message):
        Lstm(to_npz(**arrays))


def test_a_missing_array_is_named(content: bytes) -> None:
    arrays = dict(from_npz(content))
    del arrays["bias"]
    with pytest.raises(KeyError, match="bias"):
        Lstm(to_npz(**arrays))


@pytest.mark.parametrize("content", [b"no weights", b"", b"PK"])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        Lstm(content)
