"""The log's two formats, a log that nobody can write, and failures that repeat themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from dejavu_common.failure_log import REMINDER_SECONDS, SETTLED_SECONDS, FailureLog

PROGRAM = """
import logging, sys, warnings
import structlog
from dejavu_server.observability import logs

logs.configure("info", sys.argv[1], worker="0-7")
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


def logged(log_format: str, program: str = PROGRAM) -> str:
    run = subprocess.run([sys.executable, "-c", program, log_format], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    return run.stderr


def test_a_log_for_machines_has_one_object_a_line() -> None:
    seen, library, warning, failed = (json.loads(line) for line in logged("auto").splitlines())  # without a terminal
    assert (seen["event"], seen["number"], seen["level"]) == ("seen", 1, "info")
    assert (library["event"], library["level"]) == ("a library's word", "warning")
    assert "careful" in warning["event"]
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"
    for entry in (seen, library, warning, failed):
        assert (entry["worker"], entry["request_id"]) == ("0-7", "abc")
        assert entry["timestamp"].endswith("Z")


def test_a_log_for_people_is_plain_where_there_is_no_terminal() -> None:
    text = logged("console")
    assert "seen" in text
    assert "ZeroDivisionError" in text
    assert "unseen" not in text
    assert "\x1b" not in text


def test_answers_that_nobody_waited_for_do_not_fill_the_log() -> None:
    [entry] = [json.loads(line) for line in logged("json", LATE_ANSWERS).splitlines()]
    assert entry["exception"][0]["exc_type"] == "KeyError"


NOBODY_READS = """
import structlog
from dejavu_server.observability import logs

logs.configure("info", "json")
for number in range(1000):
    structlog.get_logger("test").info("unheard", number=number)
print("alive")
"""


@pytest.mark.parametrize("fault", ["disk full", "reader gone"])
def test_a_log_that_cannot_be_written_ends_nothing(fault: str) -> None:
    if fault == "disk full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    run = subprocess.run(
        [sys.executable, "-c", NOBODY_READS], stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=30
    )
    os.close(stderr)
    assert (run.returncode, run.stdout) == (0, "alive\n")


DISK_FULL = OSError("disk full")


class Failing(FailureLog):
    """A failure log whose clock advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        super().__init__(structlog.get_logger(), failed="failing", recovered="fine_again", clock=lambda: self.now)


@pytest.fixture
def trouble() -> Failing:
    return Failing()


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as entries:
        yield entries


def test_the_first_failure_is_told_in_full_and_its_end_once(trouble: Failing, log: list[Any]) -> None:
    trouble.succeeded()
    assert not log
    trouble.failed(DISK_FULL, method="/x")
    trouble.failed(DISK_FULL)
    trouble.now += SETTLED_SECONDS
    trouble.succeeded()
    trouble.succeeded()
    assert log == [
        {"event": "failing", "log_level": "error", "error": "disk full", "exc_info": DISK_FULL, "method": "/x"},
        {"event": "fine_again", "log_level": "info", "failures": 2, "seconds": SETTLED_SECONDS},
    ]


def test_those_that_follow_are_counted_in_a_line_now_and_then(trouble: Failing, log: list[Any]) -> None:
    for _ in range(2 * 1000 + 1):
        trouble.failed(DISK_FULL)
        trouble.now += REMINDER_SECONDS / 1000
    _, *reminders = log
    assert [entry["failures"] for entry in reminders] == pytest.approx([1001, 2001], abs=1)
    assert all(entry["error"] == "disk full" and "exc_info" not in entry for entry in reminders)
    assert reminders[0]["seconds"] == pytest.approx(REMINDER_SECONDS, abs=0.1)


def test_failures_between_successes_are_one_trouble(trouble: Failing, log: list[Any]) -> None:
    for _ in range(100):
        trouble.failed(DISK_FULL)
        trouble.now += SETTLED_SECONDS / 10
        trouble.succeeded()
    assert len(log) == 1
    trouble.now += REMINDER_SECONDS
    trouble.failed(DISK_FULL)
    assert log[-1]["exc_info"] == DISK_FULL
