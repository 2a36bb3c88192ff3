"""Names of files, and logged texts, in the output of every program: visible, and without effect on a terminal."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from tests.support.programs.commands import python_m

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e\u200b\x7f\r"
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


PROGRAMS = {
    "dejavu": ("dejavu_cli", f"x{HOSTILE}"),
    "dejavu-server's ledger": ("dejavu_server", "ledger", "verify", "--ledger", f"sqlite:////nowhere/{HOSTILE}"),
    "dejavu-trainer": ("dejavu_trainer", "fetch", "--seasons", HOSTILE, "--out", "/nowhere"),
    "dejavu-dashboard": ("dejavu_gateway", f"x{HOSTILE}"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_argument_does_nothing_to_the_terminal(program: str) -> None:
    module, *arguments = PROGRAMS[program]
    command = [*python_m(module), *arguments]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    assert "]0;owned" in said
    assert not UNSEEN.search(said)


LOGGING = """
import logging, sys
import structlog
from {module} import logs

logs.configure("info", "console")
log = {logger}
hostile = sys.argv[1]
log.warning("a " + hostile, text=hostile, many=[hostile], error=ValueError(hostile))
logging.getLogger("library").warning("a library's %s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize(
    ("module", "logger"),
    [("dejavu_server.observability", "structlog.get_logger()"), ("dejavu_gateway", "logs.get_logger()")],
)
def test_a_log_for_people_does_nothing_to_the_terminal(module: str, logger: str) -> None:
    program = LOGGING.format(module=module, logger=logger)
    ended = subprocess.run(
        [sys.executable, "-c", program, HOSTILE + "\nforged"], capture_output=True, encoding="utf-8", check=True
    )
    assert ended.stderr.count("]0;owned") == 6
    assert not UNSEEN.search(ended.stderr)
    assert [line for line in ended.stderr.splitlines() if line.startswith("forged")] == ["forged"], "of the traceback"
