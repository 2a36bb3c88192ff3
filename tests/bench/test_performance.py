"""The report of a run has all samples and sections."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.performance import __main__ as program
from bench.performance.calls import SINGLE
from bench.performance.measuring import CALLS
from bench.performance.report import SECTIONS
from bench.performance.samples import Run, mlserver_version


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_quick_run_measures_and_reports_everything(tmp_path: Path) -> None:
    mlserver = str(program.MLSERVER_PYTHON) if mlserver_version(program.MLSERVER_PYTHON) else "off"
    out = tmp_path / "report.md"
    assert program.main(["--quick", "--mlserver", mlserver, "--out", str(out)]) == 0
    run = Run.load(out.with_suffix(".json"))
    assert all({*each.figures} == {*CALLS} for each in run.samples if each.section == SINGLE.name)
    wanted = {section.title for section in SECTIONS.values()} - run.skipped.keys()
    report = out.read_text()
    assert [title for title in wanted if f"\n## {title}\n" not in report] == []
