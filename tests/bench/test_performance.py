"""The report has all samples: ratios within rounds, targets, tables and plots."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.latency import Callers, Server
from bench.load import Order, Timings
from bench.performance.machine import mlserver_version
from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
    CallsFailed,
    new_order,
    timed_calls,
)
from bench.performance.report import render
from bench.performance.samples import Run, Sample
from bench.performance.sections import single_calls
from bench.performance.sections.catalogue import SECTIONS
from bench.performance.sections.section import CALLS
from bench.performance.targets import TARGETS, Target
from psutil import Process

from bench.performance import run as program


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


def test_a_ratio_is_over_the_base_of_the_same_round() -> None:
    run = new_run(
        *(a_sample(ECHO, number, cpu) for number, cpu in enumerate((100.0, 200.0, 100.0, 0.0))),
        *(a_sample(single_calls.WHAT_IF, number, cpu) for number, cpu in enumerate((120.0, 400.0, 150.0, 100.0))),
    )
    assert run.ratios("calls", "16 callers", single_calls.WHAT_IF, "cpu_us", ECHO) == [1.2, 2.0, 1.5]
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

    run = new_run(a_sample(ECHO, 0, 100.0), a_sample(single_calls.WHAT_IF, 0, 150.0), a_sample(MLSERVER, 0, 500.0))
    rows = {row[0]: row[1:] for row in tables(render(run, {}))["Targets"]}
    assert rows["what-if, 16 callers: server CPU over the echo's"] == ["≤ 1.4 ×", "× 1.50 [1.50, 1.50]", "**no**"]
    assert rows["what-if, 16 callers: server CPU over MLServer's"] == ["≤ 0.4 ×", "× 0.30 [0.30, 0.30]", "yes"]
    assert rows["memory (PSS) of four workers"] == ["≤ 260 MB", "not measured", "–"]
    assert len(rows) == 1 + len(TARGETS)


class FakeCallers(Callers):
    """Callers that call nobody."""

    def __init__(self, failed: int) -> None:
        self.failed = failed
        self.orders: list[Order] = []

    def ask(self, order: Order) -> Timings:
        self.orders.append(order)
        return Timings(1.0, [0.001] * (order.calls - self.failed), self.failed)


def test_what_has_failed_is_not_timed() -> None:
    server = Server("127.0.0.1:1", Process())
    take = timed_calls(FakeCallers(failed=1), server, new_order(server, 1, 10))
    with pytest.raises(CallsFailed, match="1 of 10 calls"):
        take()


CONTENDERS = {ECHO, single_calls.WHAT_IF, single_calls.EXPLAINED, single_calls.NAMED}


@pytest.mark.nightly
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
