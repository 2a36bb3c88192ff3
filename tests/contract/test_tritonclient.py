"""tritonclient, a client of the Open Inference Protocol that is not ours, calls a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.support.harness.documents import ROOT
from tests.support.processes.servers import running_worker
from tests.support.programs.triton_environment import python_with_tritonclient, run_without_our_code

PROGRAM = ROOT / "tests" / "support" / "programs" / "triton_calls.py"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers that the program received."""
    python = python_with_tritonclient()
    with running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address:
        done = run_without_our_code(python, str(PROGRAM), address)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_finds_the_model_and_gets_forecasts(answers: dict[str, Any]) -> None:
    assert (answers["live"], answers["ready"], answers["model_ready"]) == (True, True, True)
    assert answers["raw"]["model_version"] in answers["versions"]
    assert answers["inputs"]["pattern"] == ["FP64", [-1, -1]]
    outputs = answers["raw"]["outputs"]
    assert set(outputs) == set(answers["outputs"])
    assert answers["raw"]["id"] == "triton 1"
    lower, point, upper = (np.array(outputs[name]) for name in ("lower", "point", "upper"))
    assert point.shape == (2,)
    assert ((lower <= point) & (point <= upper)).all()
    assert outputs["expected_margin"][0] == 4.5
    assert np.shape(outputs["quantiles"]) == (2, 2)
    assert outputs["total_point"][0] > 91
    assert np.isnan(outputs["total_point"][1])


def test_it_shows_why_a_call_was_refused(answers: dict[str, Any]) -> None:
    for call, code, named in (
        ("unknown_model", "NOT_FOUND", "'resnet'"),
        ("bad_row", "INVALID_ARGUMENT", "pattern[1][3]"),
        ("no_streams", "UNIMPLEMENTED", ""),
    ):
        found, message = answers[call]
        assert found == f"StatusCode.{code}"
        assert named in message
