"""A package without the compiled models says so in one sentence; numbers that they share."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.native import shared_floats

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


@given(st.lists(st.floats() | st.integers(-250, 250).map(float)))
def test_shared_floats_are_the_floats_given(values: list[float]) -> None:
    assert list(map(float.hex, shared_floats(values))) == list(map(float.hex, values))  # −0 and NaN too
