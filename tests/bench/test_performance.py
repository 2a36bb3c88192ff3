"""The report has all samples: ratios within rounds, targets, tables and plots."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.performance import run as program
from bench.performance.machine import mlserver_version
from bench.performance.measuring import (
    CALLS,
    DEJAVU,
    ECHO,
    MLSERVER,
    CallsFailed,
)
from bench.performance.report import SECTIONS, render
from bench.performance.samples import Run, Sample
from bench.performance.sections.calls import SINGLE, WHAT_IF
from bench.performance.targets import TARGETS, Target


def new_run(*samples: Sample) -> Run:
    sections = list(dict.fromkeys(each.section for each in samples))
    return Run("a machine", "", "today", "a commit", "a command", 2, sections=sections, samples=list(samples))


def a_sample(contender: str, number: int, cpu_us: float, case: str = "16 callers") -> Sample:
    return Sample(SINGLE.name, case, contender, number, {**dict.fromkeys(CALLS, 1.0), "cpu_us": cpu_us})


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


def test_a_ratio_is_over_the_base_of_the_same_round() -> None:
    run = new_run(
        *(a_sample(ECHO, number, cpu) for number, cpu in enumerate((100.0, 200.0, 100.0, 0.0))),
        *(a_sample(WHAT_IF, number, cpu) for number, cpu in enumerate((120.0, 400.0, 150.0, 100.0))),
    )
    assert run.ratios("calls", "16 callers", WHAT_IF, "cpu_us", ECHO) == [1.2, 2.0, 1.5]
    [_, echo, what_if] = tables(render(run, {}))["Single calls"]
    assert echo[-1] == "100"
    assert what_if[-1] == "135 × 1.50 [1.20, 2.00]"


def test_each_target_says_whether_it_is_met() -> None:
    target = Target("something", 1.25, lambda run: run.ratios("calls", "16 callers", DEJAVU, "cpu_us", ECHO))
    for cpu, met in ((124.0, True), (126.0, False)):
        run = new_run(a_sample(ECHO, 0, 100.0), a_sample(DEJAVU, 0, cpu))
        assert target.is_met(run) is met
        assert Target("the other way", 1.25, target.values, at_least=True).is_met(run) is not met
    assert target.is_met(new_run()) is None

    run = new_run(a_sample(ECHO, 0, 100.0), a_sample(WHAT_IF, 0, 150.0), a_sample(MLSERVER, 0, 500.0))
    rows = {row[0]: row[1:] for row in tables(render(run, {}))["Targets"]}
    assert rows["what-if, 16 callers: server CPU over the echo's"] == ["≤ 1.4 ×", "× 1.50 [1.50, 1.50]", "**no**"]
    assert rows["what-if, 16 callers: server CPU over MLServer's"] == ["≤ 0.4 ×", "× 0.30 [0.30, 0.30]", "yes"]
    assert rows["memory (PSS) of four workers"] == ["≤ 260 MB", "not measured", "–"]
    assert len(rows) == 1 + len(TARGETS)


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
def test_a_quick_run_measures_and_reports_everything(tmp_path: Path) -> None:
    mlserver = str(program.MLSERVER_PYTHON) if mlserver_version(program.MLSERVER_PYTHON) else "off"
    out = tmp_path / "report.md"
    assert program.main(["--quick", "--mlserver", mlserver, "--out", str(out)], show=print) == 0
    run = Run.load(out.with_suffix(".json"))
    assert all({*each.figures} == {*CALLS} for each in run.samples if each.section == SINGLE.name)
    found = tables(out.read_text())
    wanted = {section.title for section in SECTIONS.values()} - run.skipped.keys()
    assert [title for title in wanted if len(found.get(title, ())) < 2] == []
    assert (tmp_path / "images" / "performance-calls.svg").read_text().endswith("</svg>\n")
