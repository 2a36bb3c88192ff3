"""The environment that has tritonclient, whose protobuf is older than ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.harness.documents import ROOT
from tests.support.harness.required import skip_or_fail


def python_with_tritonclient() -> str:
    """Return its interpreter: DEJAVU_TRITON_PYTHON, or else that of `make .venv-gen/.installed`.

    Where it is missing the test is skipped; under DEJAVU_CI=1 it fails.
    """
    python = os.environ.get("DEJAVU_TRITON_PYTHON", str(ROOT / ".venv-gen" / "bin" / "python"))
    found = Path(python).exists() and run_without_our_code(python, "-c", "import tritonclient.grpc").returncode == 0
    if not found:
        skip_or_fail(f"{python} has no tritonclient (make .venv-gen/.installed)")
    return python


def run_without_our_code(python: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter that finds no module of ours, neither by PYTHONPATH nor beside the program."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [python, "-P", *args], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
