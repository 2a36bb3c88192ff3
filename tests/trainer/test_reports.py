from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import islice

import numpy as np
import pytest
from tests.support.builders.folds import RUN, result_of_two_folds
from tests.support.builders.made_once import computed_once
from tests.support.harness.laws import NIGHTLY

from dejavu_common.rich_console import Console
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.aims import missed
from dejavu_trainer.evaluation.result import BacktestResult, to_json
from dejavu_trainer.evaluation.scoring.fold_scores import EXPECTATIONS
from dejavu_trainer.evaluation.table import TIP_OFF
from dejavu_trainer.reports.backtest import report_of
from dejavu_trainer.reports.plots import chosen_games, fan_chart, plots
from dejavu_trainer.reports.render import EvaluationReport, Plot, markdown, page, print_report


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return result_of_two_folds()


@pytest.fixture(scope="module")
def drawn(result: BacktestResult) -> list[Plot]:
    """All plots in nightly runs; by day two, as drawing all takes seconds."""
    return computed_once("plots-of-two-folds", lambda: list(islice(plots(result.figures), None if NIGHTLY else 2)))


@pytest.fixture(scope="module")
def report(result: BacktestResult) -> EvaluationReport:
    return report_of("Walk-forward over 2033 & 2034", result, "flattering <figures>")


@pytest.fixture(scope="module")
def html(report: EvaluationReport, drawn: list[Plot]) -> str:
    return page(report, drawn)


@pytest.fixture(scope="module")
def printed(report: EvaluationReport) -> str:
    out = io.StringIO()
    print_report(Console(file=out, width=160), report)
    return out.getvalue()


def test_the_document_is_json_with_all_figures(result: BacktestResult) -> None:
    document = json.loads(to_json(result), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (document["recipe"], document["seasons"]) == (RUN.recipe, [2033, 2034])
    assert document["folds"] == [
        {
            "season": season,
            "games": 300,
            "train_seasons": f"{season - 3} {season - 2}",
            "calibration_seasons": f"{season - 1}",
            "calibration_games": 300,
        }
        for season in (2033, 2034)
    ]
    assert document["verdict"]["fit"] is result.verdict.fit
    assert document["verdict"]["reason"] == result.verdict.reason
    assert len(document["promises"]) == len(result.promises)
    names = ("target", "kind", "group", "forecaster", "metric", "reference")
    by_key = {tuple(each[name] for name in names): each for each in document["figures"]}
    assert len(by_key) == len(document["figures"])
    for metric, reference in (("crps", ""), ("crps", "linear"), ("brier", "persistence")):
        each = by_key["final", "minute", "18", "served", metric, reference]
        found = result.figures.get("final", "served", metric, reference, kind="minute", group="18")
        assert each["found"] == pytest.approx(found, rel=1e-5)
        assert each["games"] == 600


def test_the_expected_margin_is_held_against_knowing_no_team(result: BacktestResult, report: EvaluationReport) -> None:
    table = result.table
    errors = [np.abs(table.of(TIP_OFF, f"{name}.point") - table.of(TIP_OFF, "outcome")).mean() for name in EXPECTATIONS]
    # The margins of these walks do not come from teams: results of other games say nothing of them.
    assert errors[1:] == sorted(errors[1:])
    [shown] = [each for each in report.tables if each.title == "Expected margin before tip-off: error"]
    assert [row[:2] for row in shown.rows] == [
        (name, f"{result.figures.get(TIP_OFF, name, 'mae'):.3f}") for name in EXPECTATIONS
    ]


def test_intervals_are_shown_with_and_without_the_factor_of_the_season(
    result: BacktestResult, report: EvaluationReport
) -> None:
    [table] = [each for each in report.tables if each.title == "Final: intervals that follow the season"]
    assert [row[:2] for row in table.rows] == [
        (f"{season}, {name}", games)
        for season, games in (("2033", "300"), ("2034", "300"), ("all", "600"))
        for name in ("no factor of the season", "served")
    ]
    for row, name in zip(table.rows[-2:], ("static", "served"), strict=True):
        held, winkler = (result.figures.get("final", name, metric) for metric in ("coverage_95", "winkler_95"))
        assert held is not None
        assert winkler is not None
        assert (row[2], row[-1]) == (f"{100 * held.value:.1f}", f"{winkler.value:.2f}")


def test_reports_name_the_aims_that_are_not_reached(
    result: BacktestResult, report: EvaluationReport, printed: str, html: str
) -> None:
    said = f"Of the aims, {missed(result.promises)}"
    assert "not reached: " in said  # the models of these folds are no better than the linear ones
    for text in (printed, markdown(report), html):
        assert said in " ".join(text.split())


def test_tables_have_a_cell_for_every_column(report: EvaluationReport) -> None:
    for table in (*report.tables, *report.checks):
        assert table.rows
        assert all(len(row) == len(table.header) for row in table.rows)


def test_a_terminal_gets_the_verdict_the_warning_and_every_table(
    result: BacktestResult, report: EvaluationReport, printed: str
) -> None:
    assert "!! flattering <figures>" in printed
    assert "Acceptance checks (aims of the recipe; they do not decide the verdict)" in printed
    assert result.verdict.reason in printed.replace("\n", " ")
    for table in report.tables:
        assert table.title in printed
    assert ("UNFIT" in printed) == (not result.verdict.fit)


def test_markdown_tables_are_whole(report: EvaluationReport) -> None:
    text = markdown(report)
    assert text.startswith("# Walk-forward over 2033 & 2034\n")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1


class Page(HTMLParser):
    """Collects the references and ids of a page, and its unclosed elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses, self.ids, self.open = list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "data"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    parsed = Page()
    parsed.feed(html)
    assert not parsed.open
    assert parsed.addresses
    assert {address for address in parsed.addresses if not address.startswith("#")} == set()
    assert {address[1:] for address in parsed.addresses} <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "<script" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html


def test_the_page_escapes_what_it_is_told(html: str) -> None:
    assert "Walk-forward over 2033 &amp; 2034" in html
    assert "flattering &lt;figures&gt;" in html


def test_the_page_shows_checks_and_every_plot(html: str, result: BacktestResult, drawn: list[Plot]) -> None:
    for plot in drawn:
        assert f"<h2>{plot.title}</h2>" in html
    for check in (*result.promises, *result.verdict.checks):
        assert check.found in html.replace("&#39;", "'")
    assert html.count("<svg") == len(drawn)


def test_plots_are_the_same_each_time(result: BacktestResult, drawn: list[Plot]) -> None:
    assert list(islice(plots(result.figures), len(drawn))) == drawn


def test_plots_are_pictures(html: str, drawn: list[Plot]) -> None:
    for plot in drawn:
        assert plot.svg in html
        picture = ET.fromstring(plot.svg)
        assert picture.tag.endswith("svg")
        assert picture.findall(".//{http://www.w3.org/2000/svg}path")


def test_games_are_chosen_by_rule_and_the_fan_chart_shows_the_ordinary_one(result: BacktestResult) -> None:
    table = result.table
    chosen = chosen_games(table)
    leads, crps = (table.by_minute(Horizon.FINAL, name).astype(float) for name in ("lead", "served.crps"))
    final = table.by_minute(Horizon.FINAL, "outcome")[:, 0]
    lost = (-leads * np.sign(final)[:, None]).max(axis=1)
    assert lost[chosen["Largest comeback"]] == lost.max()
    mean_leads = np.abs(leads).mean(axis=1)
    assert mean_leads[chosen["Closest game"]] == mean_leads.min()
    assert mean_leads[chosen["Most one-sided game"]] == mean_leads.max()
    median = chosen["Median CRPS"]
    assert np.sort(crps.mean(axis=1))[(len(table) - 1) // 2] == pytest.approx(crps.mean(axis=1)[median])
    away, home, date = (table.columns[f"game.{name}"][median] for name in ("away", "home", "date"))
    assert f"{away} at {home}, {date}: {final[median]:+d}" in fan_chart(table)
