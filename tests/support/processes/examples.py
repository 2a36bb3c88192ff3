"""Runs examples as a reader would: what stands in the project, at the address of a test's server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.documents import ROOT

NODE_PROGRAMS = ROOT / "examples" / "node" / "dist"


def environment(address: str, **more: str) -> dict[str, str]:
    """A reader's environment: the virtual environment's programs, where the server is, and patience."""
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ,
        "PATH": path,
        "DEJAVU_TARGET": address,
        "DEJAVU_TIMEOUT": "20",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def run(*command: str | Path, address: str, seconds: float = 100.0, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, from the project's folder."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(address, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


@contextmanager
def started(*command: str | Path, address: str, seconds: float = 100.0, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A program that goes on until it is ended, its output to be read as text.

    It is killed in the end, and after so many seconds in any case: who waits for a line in vain gets an empty one.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(address, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    with process:
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()
