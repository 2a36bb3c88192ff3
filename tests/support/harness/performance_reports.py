"""Runs of the benchmark suite with hand-written samples, and what their reports say."""

from __future__ import annotations

from bench.performance.samples import Run, Sample
from bench.performance.sections import single_calls
from bench.performance.sections.section import CALLS


def new_run(*samples: Sample) -> Run:
    sections = list(dict.fromkeys(each.section for each in samples))
    return Run("a machine", "", "today", "a commit", "a command", 2, sections=sections, samples=list(samples))


def a_sample(contender: str, number: int, cpu_us: float, case: str = "16 callers") -> Sample:
    return Sample(single_calls.NAME, case, contender, number, {**dict.fromkeys(CALLS, 1.0), "cpu_us": cpu_us})


def tables(report: str) -> dict[str, list[list[str]]]:
    """The rows of the table of each section, by heading."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in report.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| ---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found
