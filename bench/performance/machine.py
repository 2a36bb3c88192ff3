"""Machine, versions and commit of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.servers import ROOT

LIBRARIES = ("grpcio", "protobuf", "uvloop", "numpy", "hnswlib")


def machine_line() -> str:
    """Return processor, memory, system and the load average of the last minute."""
    model = _field("/proc/cpuinfo", "model name") or platform.machine()
    gibibytes = int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    cpus = len(os.sched_getaffinity(0))
    return (
        f"{cpus} CPUs ({model}), {gibibytes:.0f} GiB, {platform.system()} {platform.release()}; "
        f"load average at the start {os.getloadavg()[0]:.1f}"
    )


def versions_line(mlserver: str) -> str:
    """Return the versions of Python, of the libraries that answer calls, and of MLServer, unless that is empty."""
    found = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)]
    return ", ".join([*found, f"MLServer {mlserver}"] if mlserver else found)


def mlserver_version(python: Path) -> str:
    """Return the version of MLServer that a Python has installed; empty if there is no MLServer, or no such Python."""
    command = [str(python), "-c", "from importlib.metadata import version as v; print(v('mlserver'))"]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit_line() -> str:
    """Return the commit, and whether files differ from it; "unknown" outside of a clone."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}, with changes" if changed else commit


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(ROOT), *arguments], text=True, stderr=subprocess.DEVNULL).strip()


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return ""
