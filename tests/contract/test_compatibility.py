"""Tests the compatibility check of `make check`: clients of a released contract keep working with the next one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREDICTION = "dejavu/v1/prediction_service.proto"
FORECAST = "dejavu/v1/forecast.proto"
A_METHOD = "rpc Settle(PredictRequest) returns (PredictResponse);"


def buf(*args: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "buf"
    return subprocess.run([command, *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the image of this contract, as `make release-image` writes it."""
    image = tmp_path_factory.mktemp("released") / "image.binpb"
    assert buf("build", "--exclude-source-info", "-o", str(image)).returncode == 0
    return image


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """Return a copy of the contract for the test to edit."""
    shutil.copytree(ROOT / "protos" / "dejavu", tmp_path / "protos" / "dejavu")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "breaks"),
    [
        (FORECAST, "  double alpha = 6;\n", "", 'field "6" with name "alpha"'),
        (FORECAST, "double alpha = 6;", "float alpha = 6;", "changed type"),
        (FORECAST, "double alpha = 6;", "double miscoverage = 6;", "changed name"),
        (FORECAST, "  HORIZON_FINAL = 2;\n", "", 'enum value "2"'),
        (PREDICTION, "optional double alpha = 3;", "double alpha = 3;", "cardinality"),
        (PREDICTION, "(stream StreamPredictionsResponse)", "(StreamPredictionsResponse)", "streaming"),
        (PREDICTION, "rpc PredictBatch(", "rpc PredictMany(", '"PredictBatch"'),
        (PREDICTION, "  string model_version = 9;", "  string model_version = 9;\n  optional int32 season = 100;", ""),
        (PREDICTION, "    Heartbeat heartbeat = 2;", "    Heartbeat heartbeat = 2;\n    Forecast late = 100;", ""),
        (PREDICTION, "  // Forecasts one game.", f"  {A_METHOD}\n  // Forecasts one game.", ""),
        (FORECAST, "// Miscoverage rate of the interval, in (0, 1).", "// One minus the coverage.", ""),
    ],
)
def test_a_change_that_breaks_clients_is_found_and_any_other_passes(
    contract: Path, image: Path, file: str, old: str, new: str, breaks: str
) -> None:
    path = contract / "protos" / file
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))
    result = buf("breaking", str(contract), "--against", str(image))
    assert (result.returncode == 0, result.stderr) == (not breaks, "")
    assert breaks in result.stdout
