"""Programs that are started in place of a worker's: `monkeypatch.setattr(sys, "executable", worker_that(path, …))`."""

from __future__ import annotations

import sys
from pathlib import Path

_PYTHON = sys.executable  # which is what a test replaces

_WORKER = (
    f"#!{_PYTHON}",
    "import json, os, signal, sys, time",
    "order = json.loads(sys.stdin.readline())",
    "def report(**fields):",
    """    line = json.dumps({"address": "127.0.0.1:1", **fields}) + "\\n" """,
    """    os.write(order["report_fd"], line.encode())""",
)


def stand_in(path: Path, *lines: str) -> str:
    """A program of these lines, as its path."""
    path.write_text("\n".join(lines))
    path.chmod(0o755)
    return str(path)


def worker_that(path: Path, *lines: str) -> str:
    """A program that has read its `order`, and does what these lines of Python say; `report()` says that it serves."""
    return stand_in(path, *_WORKER, *lines)
