"""First forecasts on minimal machines without an installation.

Makes two minimal Debians with mmdebstrap, which needs root, enters them with chroot, and follows the README in an empty
home, with nothing cached:

- wheel: on a machine with only Python, installs the wheel of this checkout without a compiler, and runs `dejavu demo`;
- clone: on a machine with git, make, Python and a compiler, clones this checkout, and runs `make demo`.

The package index is the one that this machine uses; its speed is part of the seconds.
"""

from __future__ import annotations

import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.servers import ROOT
from tests.deploy.containers import pip_configuration

SUITE: Final = "bookworm"

CASES: Final = {
    "wheel": (
        ("python3", "python3-venv"),
        (
            'python3 -m venv .venv && .venv/bin/pip install -q --only-binary :all: "$(echo dist/*.whl)[server,live]"'
            " && .venv/bin/dejavu demo"
        ),
    ),
    "clone": (
        ("git", "make", "python3", "python3-venv", "python3-dev", "g++"),
        "git clone -q /source dejavu && make -C dejavu demo",
    ),
}
"""Debian packages and the commands of each case."""

FORECAST: Final = re.compile(r"after \d+ minutes, ")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a case.

    Attributes:
        first: seconds to the first forecast.
        seconds: seconds to the end.
        cpu_seconds: CPU time of all processes, user and system.
        mib: size of the installation.
    """

    first: float
    seconds: float
    cpu_seconds: float
    mib: float


def make_machine(folder: Path, packages: Sequence[str]) -> None:
    """Make a minimal Debian with some packages, which reaches the package index as this machine does."""
    options = ["--quiet", "--variant=minbase", f"--include={','.join(('ca-certificates', *packages))}"]
    subprocess.run(["mmdebstrap", *options, SUITE, str(folder)], check=True)
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    own = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(own, folder / "etc/ssl/certs/ca-certificates.crt")
    (folder / "etc/pip.conf").write_text(pip_configuration("/etc/ssl/certs/ca-certificates.crt"))


def run(machine: Path, command: str, wheel: Path) -> Run:
    """Run the commands of a case in an empty home of a machine."""
    home = machine / "home/newcomer"
    home.mkdir(parents=True)
    shutil.copytree(wheel.parent, home / "dist")
    shutil.rmtree(machine / "source", ignore_errors=True)
    subprocess.run(["git", "clone", "-q", "--mirror", str(ROOT), str(machine / "source")], check=True)
    environment = {"HOME": "/home/newcomer", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    environment["SSL_CERT_FILE"] = "/etc/ssl/certs/ca-certificates.crt"  # for uv
    shell = f"cd /home/newcomer && {command}"
    before, began, first = _cpu_seconds(), time.monotonic(), float("nan")
    inside = subprocess.Popen(
        ["chroot", str(machine), "/bin/sh", "-c", shell],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert inside.stdout is not None
    lines = []
    for line in inside.stdout:
        lines.append(line)
        if math.isnan(first) and FORECAST.search(line):
            first = time.monotonic() - began
    if inside.wait() or math.isnan(first):
        sys.exit(f"{command}: ended with {inside.returncode}\n{''.join(lines[-40:])}")
    seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - before
    installed = (path for path in home.rglob(".venv/**/*") if path.is_file() and not path.is_symlink())
    mib = sum(path.stat().st_size for path in installed) / 2**20
    shutil.rmtree(home)
    return Run(first, seconds, cpu_seconds, mib)


def measured(rounds: int) -> Iterator[tuple[str, Run]]:
    """Run all cases, each on a separate machine, and yield each run."""
    with tempfile.TemporaryDirectory(prefix="dejavu-newcomer-") as folder:
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        compiled = {**os.environ, "DEJAVU_COMPILE": "1"}
        subprocess.run([*build, "-w", f"{folder}/dist", str(ROOT)], check=True, env=compiled)
        [wheel] = Path(folder, "dist").glob("*.whl")
        for case, (packages, command) in CASES.items():
            machine = Path(folder, case)
            make_machine(machine, packages)
            subprocess.run(["mount", "-t", "proc", "proc", str(machine / "proc")], check=True)
            try:
                for _ in range(rounds):
                    yield case, run(machine, command, wheel)
            finally:
                subprocess.run(["umount", str(machine / "proc")], check=False)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
