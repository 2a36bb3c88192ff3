"""Generates Go code from the contract as documented, compiles the Go example with it and runs it against a server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.harness.documents import ROOT, commands
from tests.support.harness.required import skip_or_fail
from tests.support.programs import examples

PROGRAM = ROOT / "examples" / "go" / "predict.go"
LIBRARIES = Path("/usr/share/gocode")
"""Where Debian installs Go libraries: packages golang-google-grpc-dev and golang-github-golang-protobuf-1-5-dev."""


@pytest.fixture
def go() -> str:
    """Return the go program; if tools or libraries are missing, skip the test, or fail it in CI."""
    tools = ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    missing += [
        f"the Go library {name}"
        for name in ("google.golang.org/grpc", "google.golang.org/protobuf")
        if not (LIBRARIES / "src" / name).is_dir()
    ]
    if missing:
        skip_or_fail(f"{', '.join(missing)} not installed")
    return "go"


@pytest.mark.nightly
@pytest.mark.timeout(300)  # the first build on a machine compiles gRPC, which takes 20 s
def test_the_go_example_runs_with_code_generated_as_documented(go: str, address: str, tmp_path: Path) -> None:
    [command] = [command for command in commands("docs/clients.md") if "--go_out" in command]
    sources = tmp_path / "src"
    sources.mkdir()
    generated = examples.run("sh", "-c", command.replace("OUT", str(sources)), address=address)
    assert generated.returncode == 0, generated.stderr
    offline = {"GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{tmp_path}{os.pathsep}{LIBRARIES}"}
    built = examples.run(go, "build", "-o", tmp_path / "predict", PROGRAM, address=address, seconds=240, **offline)
    assert built.returncode == 0, built.stderr
    ran = examples.run(tmp_path / "predict", address=address)
    assert ran.returncode == 0, ran.stderr
    forecast, dejavu, lstm, reason, violation = ran.stdout.splitlines()
    assert forecast.startswith("LAL @ BOS: ")
    assert (dejavu[:10], lstm[:8], reason) == ("  dejavu: ", "  lstm: ", "INVALID_PATTERN")
    assert violation.startswith("  pattern[1]: 1000")
