"""Runs the project's example programs with the address of a test server."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.documents import ROOT
from tests.support.programs.commands import commands_path

NODE_PROGRAMS = ROOT / "examples" / "node" / "dist"


def environment(address: str, **more: str) -> dict[str, str]:
    """Return the environment of an example: the PATH of the commands, the server address and a long timeout."""
    path = f"{commands_path()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ,
        "PATH": path,
        "DEJAVU_TARGET": address,
        "DEJAVU_TIMEOUT": "20",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def run(*command: str | Path, address: str, seconds: float = 100.0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in the project folder."""
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
    """Start a program that runs until it is stopped; its output is text.

    Kills it at the end, or after `seconds`; a read that waits for a line then returns an empty one.
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
