"""Measurements of a run: machine, versions and commit, and samples by section, case, contender and round, as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil
from bench.servers import ROOT

DIGITS = 5
"""Number of significant digits of a stored figure."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures of one contender in one round.

    Attributes:
        section: name of the section.
        case: name of the case, for example the number of callers.
        contender: name of the contender.
        round: number of the round, from 0 on.
        figures: name → value; names end in their units.
    """

    section: str
    case: str
    contender: str
    round: int
    figures: dict[str, float]


@dataclass
class Run:
    """A run of the program.

    Attributes:
        machine: processor, memory, system and load at the start.
        versions: versions of Python and of the libraries.
        date: when it started, in UTC.
        commit: the commit that was measured.
        command: the command that measured it.
        rounds: number of rounds that count.
        quick: whether only a few calls were made, so that the figures mean nothing.
        seconds: its duration.
        sections: the sections that were measured, in order.
        skipped: name of a part that was left out → the reason.
        samples: the samples.
    """

    machine: str
    versions: str
    date: str
    commit: str
    command: str
    rounds: int
    quick: bool = False
    seconds: float = 0.0
    sections: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def add(self, section: str, case: str, contender: str, number: int, figures: Mapping[str, float]) -> None:
        """Add a sample of a round."""
        rounded = {name: float(f"{value:.{DIGITS}g}") for name, value in figures.items()}
        self.samples.append(Sample(section, case, contender, number, rounded))

    def rows(self, section: str) -> list[tuple[str, str]]:
        """Return the cases and contenders of a section: cases in order, and the contenders of each."""
        pairs = list(dict.fromkeys((each.case, each.contender) for each in self.samples if each.section == section))
        cases = list(dict.fromkeys(case for case, _ in pairs))
        return sorted(pairs, key=lambda pair: cases.index(pair[0]))

    def values(self, section: str, case: str, contender: str, figure: str) -> dict[int, float]:
        """Return a figure by round."""
        return {
            each.round: each.figures[figure]
            for each in self.samples
            if (each.section, each.case, each.contender) == (section, case, contender) and figure in each.figures
        }

    def ratios(self, section: str, case: str, contender: str, figure: str, base: str) -> list[float]:
        """Return the ratio of a figure to the figure of another contender, for each round that has both."""
        values = self.values(section, case, contender, figure)
        bases = self.values(section, case, base, figure)
        return [value / bases[number] for number, value in values.items() if bases.get(number)]

    def save(self, path: Path) -> None:
        """Write the run as JSON, one sample a line."""
        head = {**asdict(self), "samples": []}
        lines = ",\n".join(json.dumps(asdict(each), ensure_ascii=False) for each in self.samples)
        text = json.dumps(head, ensure_ascii=False, indent=1).replace('"samples": []', f'"samples": [\n{lines}\n]')
        path.write_text(text + "\n")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read a run that was saved."""
        values = json.loads(path.read_text())
        return cls(**{**values, "samples": [Sample(**each) for each in values["samples"]]})


LIBRARIES = ("grpcio", "protobuf", "uvloop", "numpy", "hnswlib")


def machine_line() -> str:
    """Return processor, memory, system and the load average of the last minute."""
    described = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = described[1] if described else platform.machine()
    cpus, gibibytes = len(os.sched_getaffinity(0)), psutil.virtual_memory().total / 2**30
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
    return _output(str(python), "-c", "from importlib.metadata import version as v; print(v('mlserver'))")


def commit_line() -> str:
    """Return the commit, and whether files differ from it; "unknown" outside of a clone."""
    command = ("git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=, with changes")
    return _output(*command) or "unknown"


def _output(*command: str) -> str:
    """Return what a command prints; empty if it fails."""
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
