from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

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
