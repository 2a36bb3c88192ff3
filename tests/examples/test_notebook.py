"""Executes the notebook unchanged, on the record of a real server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness.documents import ROOT
from tests.support.processes.recorded_games import GAMES, Record
from tests.support.programs import examples

NOTEBOOK = ROOT / "examples" / "notebook" / "calibration.ipynb"


def execute(address: str, folder: Path) -> tuple[int, str, list[dict[str, Any]]]:
    """Return the exit code, what was printed to stderr, and the outputs of all cells."""
    out = folder / "out.ipynb"
    homes: dict[str, Any] = {
        "IPYTHONDIR": f"{folder}/ipython",
        "JUPYTER_DATA_DIR": f"{folder}/jupyter",
        "MPLCONFIGDIR": f"{folder}/mpl",
    }
    command = (sys.executable, "-m", "jupyter", "execute", NOTEBOOK, f"--output={out}")
    done = examples.run(*command, address=address, **homes)
    cells = json.loads(out.read_text())["cells"] if out.exists() else []
    return done.returncode, done.stderr, [output for cell in cells for output in cell.get("outputs", [])]


@pytest.mark.nightly
def test_the_notebook_draws_the_calibration_of_a_record(record: Record, tmp_path: Path) -> None:
    code, told, outputs = execute(record.address, tmp_path)
    assert code == 0, told
    printed = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert f" forecasts of {len(GAMES)} games, " in printed
    assert "expected calibration error 0." in printed
    tables = [text for output in outputs if (text := "".join(output.get("data", {}).get("text/html", "")))]
    assert [word for word in ("home won", "lower", "upper", "effective games") if word not in tables[1]] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_the_notebook_is_committed_without_results() -> None:
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
