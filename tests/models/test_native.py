"""A package without the compiled models says so in one sentence; numbers that they share."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.native import native, shared_floats

WITHOUT = """
import sys
sys.modules["dejavu_models._native"] = None  # what an import of a module that is not there finds
sys.argv = ["dejavu-server", "--workers", "1", "--listen", "127.0.0.1:0"]
from dejavu_server.cli.main import main
main()
"""


def test_a_server_without_them_refuses_to_start_in_one_sentence() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith("dejavu-server needs the compiled models: install it where")
    assert run.stderr.count("\n") == 1


PLATEAU = [[-1.0, *[0.0] * 4, 1.0]]
"""Quantiles whose product with an infinite scale is not a number."""


@pytest.mark.parametrize("logarithm", [1000.0, -1000.0])
def test_a_game_whose_scale_is_no_number_is_refused(logarithm: float) -> None:
    shapes = native.Shapes(
        levels=[0.01, 0.02, 0.3, 0.7, 0.98, 0.99], centers=[0.0], quantiles=np.array(PLATEAU), log_step=0.7
    )
    points = native.PointTables(
        shapes,
        final=True,
        late=True,
        point=[0.0] * 6,
        scale=[logarithm, 0.0, 0.0, 0.0],
        log_mean=0.0,
        tolerance=1e-9,
        most_to_come=400,
    )
    with pytest.raises(ValueError, match="a scale is finite and above 0"):
        points.game(181, 17.0, 0.0)
    constants = native.MarginConstants(
        largest=1,
        tolerance=1e-9,
        least_win=1e-6,
        least=1e-9,
        joint_weight=0.5,
        floors=[1e-6, 2e-6, 3e-6],
        floor_at_tie=1e-6,
    )
    margins = native.MarginTables(
        constants,
        shapes,
        ranks=[0.0, 1.0],
        levels=[0.0, 1.0],
        live=False,
        final=True,
        late=True,
        cells=True,
        scale=[logarithm, *[0.0] * 5],
        pace=[0.0] * 3,
        win=[0.0] * 8,
    )
    with pytest.raises(ValueError, match="a scale is finite and above 0"):
        margins.game(0.0, 17.0, 0.0, 0.0, 0.0, 0.0, None, None)


@given(st.lists(st.floats() | st.integers(-250, 250).map(float)))
def test_shared_floats_are_the_floats_given(values: list[float]) -> None:
    assert list(map(float.hex, shared_floats(values))) == list(map(float.hex, values))  # −0 and NaN too
