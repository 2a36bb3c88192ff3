"""The fork server starts before the supervisor's imports, only for a server that keeps one, and never outlives it."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from dejavu_server.supervisor import early_start

SERVES = ("--workers", "2", "--listen", "127.0.0.1:0")


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dejavu_server.supervisor.supervisor", raising=False)


@pytest.mark.usefixtures("nothing_imported")
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("ledger", "verify"), {}),
        (("--help",), {}),
        ((*SERVES, "--version"), {}),
        (SERVES, {"DEJAVU_STANDBY": "off"}),
        (SERVES, {"_DEJAVU_SERVER_COMPLETE": "complete_bash"}),
    ],
)
def test_a_command_that_keeps_no_fork_server_starts_none(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    early_start.start(arguments, {**os.environ, **environment})
    assert early_start.take() is None


@pytest.mark.usefixtures("nothing_imported")
def test_the_fork_server_that_was_started_is_taken_once() -> None:
    early_start.start(SERVES, {name: value for name, value in os.environ.items() if name != "DEJAVU_STANDBY"})
    server = early_start.take()
    assert server is not None
    assert early_start.take() is None
    assert os.getpgid(server.pid) == server.pid
    early_start.discard(server)
    assert not psutil.pid_exists(server.pid)


def test_a_command_with_wrong_usage_says_so_and_leaves_no_process() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DEJAVU_STANDBY"}
    command = (sys.executable, "-m", "dejavu_server", "--workers", "none")
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert run.returncode == 2
    assert "--workers" in run.stderr
    assert "Traceback" not in run.stderr
