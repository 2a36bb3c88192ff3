"""The suite measures and reports what it says, and fails if a call fails. No test is about a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.performance.machine import mlserver_version
from bench.performance.measuring import (
    ECHO,
    MLSERVER,
    CallsFailed,
)
from bench.performance.samples import Run
from bench.performance.sections import single_calls
from bench.performance.sections.catalogue import SECTIONS
from bench.performance.sections.section import CALLS
from tests.support.harness.performance_reports import new_run, tables

from bench.performance import run as program

CONTENDERS = {ECHO, single_calls.WHAT_IF, single_calls.EXPLAINED, single_calls.NAMED}


def test_a_quick_run_measures_every_contender_in_every_case_and_reports_it(tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    assert program.main(["--quick", "--only", "calls", "--mlserver", "off", "--out", str(out)], show=print) == 0
    run = Run.load(out.with_suffix(".json"))
    assert {*run.rows("calls")} == {(single_calls.case_of(count), each) for count in (1, 4) for each in CONTENDERS}
    assert all({*each.figures} == {*CALLS} for each in run.samples)
    assert all(value > 0 for each in run.samples for value in each.figures.values())
    report = out.read_text()
    assert "**MLServer is left out**: `--mlserver off`" in report
    [head, *rows] = tables(report)["Single calls"]
    assert head[2:] == list(CALLS.values())
    assert len(rows) == 2 * len(CONTENDERS)
    assert "](images/performance-calls.svg)" in report
    assert (tmp_path / "images" / "performance-calls.svg").read_text().endswith("</svg>\n")


def test_a_run_ends_with_the_first_call_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise CallsFailed("1 of 10 calls failed")

    monkeypatch.setattr(program, "measure", fail)
    assert program.main(["--quick", "--mlserver", "off"], show=print) == 1
    assert "1 of 10 calls" in capsys.readouterr().err


def test_without_mlserver_the_report_says_so_and_ci_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = str(tmp_path / "python")
    assert mlserver_version(Path(missing)) == ""
    monkeypatch.delenv("DEJAVU_CI", raising=False)
    run = new_run()
    assert program.installed_mlserver(missing, run) is None
    assert "make bench" in run.skipped[MLSERVER]
    monkeypatch.setenv("DEJAVU_CI", "1")
    assert program.main(["--quick", "--mlserver", missing], show=print) == 1


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_quick_run_of_everything_works() -> None:
    mlserver = str(program.MLSERVER_PYTHON) if mlserver_version(program.MLSERVER_PYTHON) else "off"
    shown: list[str] = []
    assert program.main(["--quick", "--mlserver", mlserver], show=shown.append) == 0
    found = tables(shown[0])
    assert [section.title for section in SECTIONS.values() if len(found.get(section.title, ())) < 2] == []
