"""Forks of a preloaded interpreter, which the tests by day start servers as, end and are told of as new ones are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from tests.support.processes import preloaded
from tests.support.processes.preloaded import ForkedChild, start_preloaded
from tests.support.programs.commands import python_m


@pytest.fixture(autouse=True)
def preloading() -> None:
    if not preloaded.enabled():
        pytest.skip("nightly tests start new interpreters")


def started(*arguments: str, **environment: str) -> ForkedChild:
    return start_preloaded("dejavu_server", arguments, {**os.environ, **environment})


@pytest.fixture
def replay() -> Iterator[subprocess.Popen[str]]:
    """A command that serves until it is ended."""
    command = [*python_m("dejavu_client.cli"), "replay", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_wrong_option_and_a_wrong_variable_end_it_with_a_message() -> None:
    for process, named in (
        (started("--workers", "no"), "--workers"),
        (started(DEJAVU_WORKERS="none"), "DEJAVU_WORKERS"),
    ):
        assert process.stderr is not None
        with process.stderr as said:
            assert named in said.read()
        assert process.wait(60) == 2
        assert process.poll() == 2


def test_its_end_by_a_signal_is_told() -> None:
    process = started("--listen", "127.0.0.1:0", "--ledger", "sqlite:///:none:/ledger", "--log-format", "json")
    assert process.stderr is not None
    with process.stderr as said:
        assert '"event": "starting"' in said.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.0)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        process.kill()  # it has ended: no error


def test_a_command_ends_as_its_fork_does_and_passes_signals_on(replay: subprocess.Popen[str]) -> None:
    assert replay.stdout is not None
    assert '"url"' in replay.stdout.readline()
    replay.send_signal(signal.SIGINT)
    assert replay.wait(60) == 0


def test_a_command_that_is_killed_leaves_no_fork(replay: subprocess.Popen[str]) -> None:
    assert replay.stdout is not None
    port = urlsplit(json.loads(replay.stdout.readline())["url"]).port
    [fork] = [
        each
        for each in psutil.Process().children(recursive=True)
        if any(one.laddr.port == port for one in each.net_connections() if one.status == psutil.CONN_LISTEN)
    ]
    replay.kill()
    psutil.wait_procs([fork], timeout=60)
    assert not fork.is_running()
