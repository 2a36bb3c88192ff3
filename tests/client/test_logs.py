"""Destination of the client's log, in a host program and in its own commands."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from dejavu_client.logs import get_logger, log_to_stderr

HOST = """
from dejavu_client.transport.statistics import CallRecorder

recorder = CallRecorder("here")
for method, seconds in (("Predict", 0.1), ("Predict", 0.3), ("AssessRisk", 3.0)):
    recorder.record(method, seconds)
"""


def test_in_a_host_that_configures_nothing_slow_calls_are_seen_on_stderr_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", HOST], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "slow_call method='Predict' milliseconds=300 outcome='OK' target='here'",
        "slow_call method='AssessRisk' milliseconds=3000 outcome='OK' target='here'",
    ]


def test_a_host_gets_the_fields_as_they_are_and_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="dejavu_client")
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger().exception("failed", source="100 %", attempt=3)
    get_logger().info("done")
    get_logger().debug("unheard")
    first, second = caplog.records
    assert first.getMessage() == "failed source='100 %' attempt=3"
    assert vars(first)["fields"] == {"source": "100 %", "attempt": 3}
    assert first.exc_info is not None
    assert isinstance(first.exc_info[1], ValueError)
    assert (second.levelname, second.getMessage(), second.exc_info) == ("INFO", "done", None)


def test_a_program_logs_to_whatever_stderr_is_from_its_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("error")
    log_to_stderr("info")
    get_logger().info("seen", number=1)
    get_logger().debug("unseen")
    out, err = capsys.readouterr()
    assert out == ""
    time, _, rest = err.partition(" ")
    assert len(time) == 8
    assert rest == "INFO seen number=1\n"
