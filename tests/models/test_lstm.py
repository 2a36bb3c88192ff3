from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dejavu_models.lstm import Lstm


@pytest.fixture(scope="module")
def graph(small_bundle: Path) -> bytes:
    return (small_bundle / "lstm.onnx").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_a_batch_gets_what_each_pattern_gets_alone(graph: bytes, count: int) -> None:
    lstm = Lstm(graph, 18)
    patterns = np.random.default_rng(count).normal(0, 2.5, (count, 18)).cumsum(axis=1)
    alone = np.concatenate([lstm.predict(patterns[row : row + 1]) for row in range(count)])
    assert lstm.predict(patterns) == pytest.approx(alone, abs=1e-4)


def test_a_graph_for_another_number_of_slots_is_refused(graph: bytes) -> None:
    with pytest.raises(ValueError, match="inputs and outputs"):
        Lstm(graph, 17)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="not an ONNX graph"):
        Lstm(b"no graph", 18)


def test_the_runtime_keeps_and_sends_no_telemetry(tmp_path: Path) -> None:
    program = "import dejavu_models.lstm, os; print([os.path.realpath(e) for e in os.scandir('/proc/self/fd')])"
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
