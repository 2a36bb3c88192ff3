from __future__ import annotations

import io
import re
from html import unescape
from itertools import islice

import pytest
from tests.support.builders.folds import result_of_two_folds
from tests.support.builders.made_once import computed_once
from tests.support.harness.laws import NIGHTLY

from dejavu_common.rich_console import Console
from dejavu_trainer.evaluation.verdict import missed
from dejavu_trainer.reports.backtest import EvaluationReport, Plot, markdown, page, print_report, report_of
from dejavu_trainer.reports.plots import plots


@pytest.fixture(scope="module")
def drawn() -> list[Plot]:
    """All plots in nightly runs; by day two, as drawing all takes seconds."""
    return computed_once(
        "plots-of-two-folds", lambda: list(islice(plots(result_of_two_folds().figures), None if NIGHTLY else 2))
    )


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return report_of("Walk-forward over 2033 & 2034", result_of_two_folds(), "flattering <figures>")


@pytest.fixture(scope="module")
def html(report: EvaluationReport, drawn: list[Plot]) -> str:
    return page(report, drawn)


def test_every_form_has_the_verdict_the_checks_and_every_table(report: EvaluationReport, html: str) -> None:
    print_report(Console(file=(out := io.StringIO()), width=160), report)
    printed, result = out.getvalue(), result_of_two_folds()
    said = f"Of the aims, {missed(result.promises)}"
    assert "not reached: " in said  # the models of these folds are no better than the linear ones
    aims = "Acceptance checks (aims of the recipe; they do not decide the verdict)"
    for text in (printed, markdown(report), unescape(html)):
        words = " ".join(text.split())
        for expected in (aims, said, result.verdict.reason, *(table.title for table in report.tables)):
            assert expected in words
    assert ("UNFIT" in printed) == (not result.verdict.fit)
    assert "!! flattering <figures>" in printed
    assert markdown(report).startswith("# Walk-forward over 2033 & 2034\n")


def test_the_page_is_escaped_and_needs_nothing_but_itself(html: str, drawn: list[Plot]) -> None:
    assert "Walk-forward over 2033 &amp; 2034" in html
    assert "flattering &lt;figures&gt;" in html
    addresses = re.findall(r'(?:src|href|data)="([^"]*)"', html)
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert {address for address in addresses if address[0] != "#"} == set()
    assert {address[1:] for address in addresses} <= set(ids)
    assert len(ids) == len(set(ids))
    for foreign in ("<script", "@import", r"url\((?!#)"):
        assert not re.search(foreign, html)
    assert html.count("<svg") == len(drawn)
