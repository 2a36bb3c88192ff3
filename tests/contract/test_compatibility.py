"""Tests the compatibility check of `make check`: clients of the last release keep working with this contract."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).parents[2]
PREDICTION = "dejavu/v1/prediction_service.proto"
FORECAST = "dejavu/v1/forecast.proto"


def buf(*args: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "buf"
    return subprocess.run([command, *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def released() -> Path:
    [image] = (ROOT / "protos" / "released").glob("v*.binpb")
    return image


def against_the_release(contract: Path) -> str:
    """Returns the breaking changes of a contract; empty if there are none."""
    result = buf("breaking", str(contract), "--against", str(released()))
    assert result.stderr == ""
    assert (result.returncode == 0) == (result.stdout == "")
    return result.stdout


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """Returns a copy of the contract for the test to edit."""
    shutil.copytree(ROOT / "protos" / "dejavu", tmp_path / "protos" / "dejavu")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def edit(contract: Path, file: str, old: str, new: str) -> None:
    path = contract / "protos" / file
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def test_the_contract_keeps_what_the_last_release_promised() -> None:
    assert against_the_release(ROOT) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (FORECAST, "  double alpha = 6;\n", "", 'field "6" with name "alpha"'),
        (FORECAST, "double alpha = 6;", "float alpha = 6;", "changed type"),
        (FORECAST, "double alpha = 6;", "double alpha = 60;", 'field "6" with name "alpha"'),
        (FORECAST, "double alpha = 6;", "double miscoverage = 6;", "changed name"),
        (FORECAST, "  HORIZON_FINAL = 2;\n", "", 'enum value "2"'),
        (PREDICTION, "optional double alpha = 3;", "double alpha = 3;", "cardinality"),
        (PREDICTION, "repeated float pattern = 2;", "repeated double pattern = 2;", "changed type"),
        (PREDICTION, "(stream StreamPredictionsResponse)", "(StreamPredictionsResponse)", "streaming"),
        (FORECAST, "option java_package", 'option ruby_package = "Dejavu";\noption java_package', "ruby_package"),
        (PREDICTION, "rpc PredictBatch(", "rpc PredictMany(", '"PredictBatch"'),
    ],
)
def test_a_change_that_breaks_clients_is_found(contract: Path, file: str, old: str, new: str, message: str) -> None:
    edit(contract, file, old, new)
    assert message in against_the_release(contract)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (PREDICTION, "  string model_version = 9;", "  string model_version = 9;\n  optional uint32 season = 100;"),
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
def test_a_compatible_change_passes(contract: Path, file: str, old: str, new: str) -> None:
    edit(contract, file, old, new)
    if "Farewell" in new:
        with (contract / "protos" / file).open("a") as end:
            end.write("message Farewell {}\n")
    assert against_the_release(contract) == ""


def test_the_image_is_the_contract_of_the_last_release_s_tag(tmp_path: Path) -> None:
    tags = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    tag = subprocess.run(tags, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if not tag:
        pytest.skip("this clone has no release's tag")
    # While a release is prepared and not yet tagged, the image is that of the new release.
    if released().stem != tag:
        [version] = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        assert released().stem == f"v{version}"
        return
    image = tmp_path / "tag.binpb"
    built = buf("build", f".git#ref={tag}", "--exclude-source-info", "-o", str(image))
    assert built.returncode == 0, built.stderr
    assert FileDescriptorSet.FromString(released().read_bytes()) == FileDescriptorSet.FromString(image.read_bytes())
