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


def buf(*args: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "buf"
    return subprocess.run([command, *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the image of this contract, as `make release-image` writes it."""
    image = tmp_path_factory.mktemp("released") / "image.binpb"
    assert buf("build", "--exclude-source-info", "-o", str(image)).returncode == 0
    return image


def breaking(contract: Path, image: Path) -> str:
    """Return the breaking changes of a contract; empty if there are none."""
    result = buf("breaking", str(contract), "--against", str(image))
    assert result.stderr == ""
    assert (result.returncode == 0) == (result.stdout == "")
    return result.stdout


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """Return a copy of the contract for the test to edit."""
    shutil.copytree(ROOT / "protos" / "dejavu", tmp_path / "protos" / "dejavu")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def edit(contract: Path, file: str, old: str, new: str) -> None:
    path = contract / "protos" / file
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (FORECAST, "  double alpha = 6;\n", "", 'field "6" with name "alpha"'),
        (FORECAST, "double alpha = 6;", "float alpha = 6;", "changed type"),
        (FORECAST, "double alpha = 6;", "double alpha = 60;", 'field "6" with name "alpha"'),
        (FORECAST, "double alpha = 6;", "double miscoverage = 6;", "changed name"),
        (FORECAST, "  HORIZON_FINAL = 2;\n", "", 'enum value "2"'),
        (PREDICTION, "optional double alpha = 3;", "double alpha = 3;", "cardinality"),
        (PREDICTION, "repeated double pattern = 2;", "repeated float pattern = 2;", "changed type"),
        (PREDICTION, "(stream StreamPredictionsResponse)", "(StreamPredictionsResponse)", "streaming"),
        (FORECAST, "option java_package", 'option ruby_package = "Dejavu";\noption java_package', "ruby_package"),
        (PREDICTION, "rpc PredictBatch(", "rpc PredictMany(", '"PredictBatch"'),
    ],
)
def test_a_change_that_breaks_clients_is_found(
    contract: Path, image: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(contract, file, old, new)
    assert message in breaking(contract, image)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (PREDICTION, "  string model_version = 9;", "  string model_version = 9;\n  optional int32 season = 100;"),
        (FORECAST, "  HORIZON_FINAL = 2;", "  HORIZON_FINAL = 2;\n  HORIZON_QUARTER = 100;"),
        (PREDICTION, "    Heartbeat heartbeat = 2;", "    Heartbeat heartbeat = 2;\n    Farewell farewell = 100;"),
        (
            PREDICTION,
            "  // Forecasts one game.",
            "  rpc Settle(PredictRequest) returns (PredictResponse);\n  // One game.",
        ),
        (FORECAST, "// Miscoverage rate of the interval, in (0, 1).", "// One minus the coverage."),
    ],
)
def test_a_compatible_change_passes(contract: Path, image: Path, file: str, old: str, new: str) -> None:
    edit(contract, file, old, new)
    if "Farewell" in new:
        with (contract / "protos" / file).open("a") as end:
            end.write("message Farewell {}\n")
    assert breaking(contract, image) == ""
