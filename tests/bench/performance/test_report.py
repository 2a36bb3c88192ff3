"""The report has all samples: ratios within rounds, targets, tables and plots."""

from __future__ import annotations

import json
from pathlib import Path

from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
)
from bench.performance.report import render
from bench.performance.samples import Sample
from bench.performance.sections import batches, single_calls, workers
from bench.performance.sections.catalogue import SECTIONS
from bench.performance.targets import TARGETS, Target
from tests.support.harness.performance_reports import a_sample, new_run, tables

from bench.performance import run as program


def test_a_report_is_rendered_again_from_its_samples(tmp_path: Path) -> None:
    rounds = [a_sample(each, number, 100.0) for number in range(2) for each in (ECHO, single_calls.WHAT_IF)]
    samples = tmp_path / "samples.json"
    new_run(*rounds).save(samples)
    assert len(json.loads(samples.read_text())["samples"]) == 4
    shown: list[str] = []
    assert program.main(["--from", str(samples)], show=shown.append) == 0
    first = (tmp_path / "samples.md").read_text()
    assert program.main(["--from", str(samples), "--out", str(tmp_path / "again.md")], show=shown.append) == 0
    assert (tmp_path / "again.md").read_text() == first
    assert "a machine" in first
    assert "× 1.00 [1.00, 1.00]" in first


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


def test_every_section_has_a_row_of_columns_and_a_plot_that_is_drawn(tmp_path: Path) -> None:
    cases = {
        "calls": [single_calls.case_of(1)],
        "batches": [batches.case_of(1), batches.case_of(50)],
        "workers": [workers.WHAT_IF],
    }
    samples = [
        Sample(name, case, section.base or "2 things", number, dict.fromkeys(section.columns, 2.0 + number))
        for name, section in SECTIONS.items()
        for case in cases.get(name, ["3 cases"])
        for number in range(2)
    ]
    program.write(new_run(*samples), tmp_path / "report.md", None)
    report = (tmp_path / "report.md").read_text()
    found = tables(report)
    for section in SECTIONS.values():
        assert found[section.title][0][2:] == list(section.columns.values())
        assert not section.plot or f"images/performance-{section.plot}.svg" in report
