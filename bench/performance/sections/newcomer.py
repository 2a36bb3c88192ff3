"""Time to the first forecast on minimal machines without an installation."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict

from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.setting import Setting
from bench.start.newcomer import CASES, measured

NAME = "newcomer"
TITLE = "First forecast"
CONTENDER = "Dejavu"

ROUNDS = 3
"""Number of rounds; fewer than in other sections, because a round takes minutes."""


def measure(setting: Setting, run: Run) -> None:
    """Measure first forecasts."""
    if setting.quick or os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        run.skipped[TITLE] = "it needs root, mmdebstrap and minutes"
        return
    numbers = dict.fromkeys(CASES, 0)
    for case, made in measured(list(CASES), ROUNDS):
        run.add(NAME, case, CONTENDER, numbers[case], asdict(made))
        numbers[case] += 1


SECTION = Section(
    name=NAME,
    title=TITLE,
    text=(
        "In an empty home of a minimal Debian, with nothing installed or cached: `wheel` installs the wheel on a"
        " machine with only Python, without a compiler, and runs `dejavu demo`; `clone` clones the repository on a"
        " machine with git, make, Python and a compiler, and runs `make demo`. The times include downloads from the"
        " package index. Both have the extras `server` and `live`, and pip; the server alone is smaller"
        " ([deployment](deployment.md#install))."
    ),
    columns={
        "first": "first forecast, s",
        "seconds": "end of the demo, s",
        "cpu_seconds": "CPU of all processes, s",
        "mib": "installed, MiB",
    },
    measure=measure,
)
