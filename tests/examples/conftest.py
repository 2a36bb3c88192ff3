"""Fixtures of the examples: real servers, and the built programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.fakes.service import authority, mutual, token_file  # noqa: F401 - fixtures
from tests.support.harness.documents import ROOT
from tests.support.harness.required import skip_or_fail
from tests.support.processes.recorded_games import Record, recorded_games
from tests.support.processes.restartable_server import Restartable, address_of, restartable_server
from tests.support.processes.servers import spawned_server
from tests.support.programs.examples import NODE_PROGRAMS, cpp_example, go_example


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server of two workers with the default bundle, for all tests that do not restart it."""
    ledger = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite3'}"
    with spawned_server("--workers", "2", "--ledger", ledger) as server:
        yield address_of(server)


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Run a server with settled forecasts of many games."""
    with recorded_games(tmp_path_factory.mktemp("record")) as made:
        yield made


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Restartable]:
    with restartable_server(tmp_path / "ledger.sqlite3") as server:
        yield server


@pytest.fixture(scope="session")
def node() -> str:
    """Build examples/node and return the node program; without node or npm, skip the test, or fail it in CI."""
    program = shutil.which("node")
    if program and shutil.which("npm"):
        built = subprocess.run(["make", "-s", "install-node"], cwd=ROOT, capture_output=True, text=True, check=False)
        if built.returncode == 0:
            return program
        missing = f"make install-node: {built.stderr or built.stdout}"
    else:
        missing = "node or npm is not installed"
    return skip_or_fail(missing)


@pytest.fixture(params=["node", "go", "cpp"])
def stream_program(request: pytest.FixtureRequest) -> Sequence[str | Path]:
    """Return the command of the stream in a language, which prints every event as a line of JSON."""
    match request.param:
        case "go":
            return [go_example("stream")]
        case "cpp":
            return [cpp_example()]
        case _:
            return [request.getfixturevalue("node"), NODE_PROGRAMS / "stream.js", "--json"]
