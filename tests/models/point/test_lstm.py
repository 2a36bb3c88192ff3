from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dejavu_models.arrays import Floats
from dejavu_models.point import features
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


@pytest.mark.parametrize("count", [1, 2, 7, 64])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_batch_gets_what_each_pattern_gets_alone(graph: bytes, count: int, compiled: bool) -> None:
    lstm = Lstm(graph, compiled=compiled)
    assert bool(lstm.networks) is compiled
    patterns, margins = games(count, 18)
    alone = [lstm.residuals(patterns[row : row + 1], margins[row : row + 1]) for row in range(count)]
    assert lstm.residuals(patterns, margins) == pytest.approx(np.concatenate(alone), abs=1e-4)


@pytest.mark.parametrize("minutes", [1, 2, 6, 18, 23, 46])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_it_says_after_a_minute_does_not_depend_on_later_ones(graph: bytes, minutes: int, compiled: bool) -> None:
    lstm = Lstm(graph, compiled=compiled)
    patterns, margins = games(5, 47)
    whole, part = lstm.residuals(patterns, margins), lstm.residuals(patterns[:, :minutes], margins)
    assert part.shape == (5, minutes, 2)
    assert whole[:, :minutes] == pytest.approx(part, abs=1e-4)


def test_a_graph_of_another_form_is_refused(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STEP_CHANNELS", 6)
    with pytest.raises(ValueError, match="inputs and outputs"):
        Lstm(graph, compiled=False)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="not an ONNX graph"):
        Lstm(b"no graph")


def test_the_runtime_keeps_and_sends_no_telemetry(tmp_path: Path) -> None:
    program = "import dejavu_models.point.lstm, os; print([os.path.realpath(e) for e in os.scandir('/proc/self/fd')])"
    environment = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "onnxruntime.db" not in run.stdout
    assert list(tmp_path.rglob("*")) == []
