"""The type stubs that protoc itself makes of the contract (`--pyi_out`) satisfy mypy, as do programs that use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.harness.documents import ROOT
from tests.support.harness.required import skip_or_fail

PROTOS = ROOT / "protos"
CONFIG = """
[mypy]
strict = True
explicit_package_bases = True

# protoc declares the values of all messages as a Mapping without types.
[mypy-dejavu.*]
disallow_any_generics = False
"""

PROGRAM = """
from collections.abc import Sequence

from dejavu.v1 import forecast_pb2, prediction_service_pb2


def asked(pattern: Sequence[float]) -> prediction_service_pb2.PredictRequest:
    return prediction_service_pb2.PredictRequest(pattern=pattern, horizon=forecast_pb2.HORIZON_FINAL)


def warned(forecast: forecast_pb2.Forecast) -> Sequence[forecast_pb2.ReliabilityWarning]:
    return forecast.warnings

"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stubs of all protos."""
    python, folder = ROOT / ".venv-gen" / "bin" / "python", tmp_path_factory.mktemp("stubs")
    if not python.exists():
        skip_or_fail("there is no .venv-gen (make .venv-gen/.installed)")
    protos = sorted(PROTOS.glob("dejavu/**/*.proto"))
    command = [str(python), "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--pyi_out={folder}", *map(str, protos)]
    subprocess.run(command, check=True, timeout=60)
    (folder / "mypy.ini").write_text(CONFIG)
    return folder


def mypy(folder: Path, program: str) -> tuple[int, str]:
    """Check a program and all stubs; return the exit code and the output."""
    (folder / "program.py").write_text(program)
    files = ["program.py", *(str(path.relative_to(folder)) for path in sorted(folder.rglob("*.pyi")))]
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", ".cache", *files]
    environment = {"MYPYPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_all_stubs_and_a_program_that_uses_them_are_strictly_typed_and_a_wrong_type_is_found(stubs: Path) -> None:
    assert len([*stubs.rglob("*.pyi")]) == len([*PROTOS.glob("dejavu/**/*.proto")])
    code, output = mypy(stubs, PROGRAM)
    assert code == 0, output
    code, output = mypy(stubs, f"{PROGRAM}\nhorizon: str = asked([1.0]).horizon\n")
    assert (code, "program.py" in output, "Incompatible types in assignment" in output) == (1, True, True), output
