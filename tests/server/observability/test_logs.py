"""The log's two formats, a log that nobody can write, and failures that repeat themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from dejavu_common.failure_log import REMINDER_SECONDS, SETTLED_SECONDS, FailureLog


def run(program: str, stderr: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=30
    )


PROGRAM = """
import logging, warnings
import structlog
from dejavu_server.observability import logs

logs.configure("info", "auto", worker="0-7")
log = structlog.get_logger("test")
structlog.contextvars.bind_contextvars(request_id="abc")
log.debug("unseen")
log.info("seen", number=1)
logging.getLogger("some.library").info("unseen")
logging.getLogger("some.library").warning("a library's %s", "word")
warnings.warn("careful", stacklevel=1)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
print("alive")
"""


LATE_ANSWERS = """
import logging
from dejavu_server.observability import logs

class ExecuteBatchError(Exception):
    "What gRPC raises, and logs, when it cannot send an answer."

logs.configure("debug", "json")
for error in ExecuteBatchError("unseen"), KeyError("seen"):
    try:
        raise error
    except Exception:
        logging.getLogger("grpc._cython.cygrpc").exception("raised")
"""


def test_answers_that_nobody_waited_for_do_not_fill_the_log() -> None:
    [entry] = [json.loads(line) for line in run(LATE_ANSWERS, subprocess.PIPE).stderr.splitlines()]
    assert entry["exception"][0]["exc_type"] == "KeyError"


def test_a_log_without_a_terminal_is_for_machines_and_has_one_object_a_line() -> None:
    done = run(PROGRAM, subprocess.PIPE)
    seen, library, warning, failed = (json.loads(line) for line in done.stderr.splitlines())
    assert (seen["event"], seen["number"], seen["level"]) == ("seen", 1, "info")
    assert (library["event"], library["level"]) == ("a library's word", "warning")
    assert "careful" in warning["event"]
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"
    for entry in (seen, library, warning, failed):
        assert (entry["worker"], entry["request_id"]) == ("0-7", "abc")


@pytest.mark.parametrize("fault", ["disk full", "reader gone"])
def test_a_log_that_cannot_be_written_ends_nothing(fault: str) -> None:
    if fault == "disk full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    assert run(PROGRAM, stderr).stdout == "alive\n"
    os.close(stderr)


def test_failures_are_told_in_full_once_and_then_counted_in_a_line_now_and_then_until_they_end() -> None:
    now, error = 1_000_000.0, OSError("disk full")
    with capture_logs() as log:
        trouble = FailureLog(structlog.get_logger(), failed="failing", recovered="fine_again", clock=lambda: now)
        trouble.succeeded()
        for _ in range(1001):
            trouble.failed(error, method="/x")
            now += REMINDER_SECONDS / 1000
        trouble.succeeded()  # shortly after a failure: not yet the end
        now += SETTLED_SECONDS
        trouble.succeeded()
    first, reminder, end = log
    assert (first["event"], first["exc_info"], first["method"]) == ("failing", error, "/x")
    assert (reminder["event"], "exc_info" in reminder) == ("failing", False)
    assert reminder["failures"] == pytest.approx(1001, abs=1)
    assert (end["event"], end["failures"]) == ("fine_again", 1001)
