from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import islice

import numpy as np
import pytest
from tests.support.builders.folds import RUN, result_of_two_folds, two_folds
from tests.support.builders.made_once import computed_once
from tests.support.harness.laws import NIGHTLY

from dejavu_common.rich_console import Console
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.acceptance import missed
from dejavu_trainer.evaluation.metrics import cases_of
from dejavu_trainer.evaluation.result import (
    EXPECTATIONS,
    RESULT_STEPS,
    BacktestResult,
    to_json,
)
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import pool
from dejavu_trainer.evaluation.verdict import Check
from dejavu_trainer.reports.backtest import report_of
from dejavu_trainer.reports.plots import chosen_games, fan_chart, plots
from dejavu_trainer.reports.render import EvaluationReport, Plot, markdown, page, print_report


@pytest.fixture(scope="module")
def folds() -> list[FoldScores]:
    return two_folds()


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return result_of_two_folds()[0]


@pytest.fixture(scope="module")
def drawn(result: BacktestResult, folds: list[FoldScores]) -> list[Plot]:
    """All plots in nightly runs; by day two, as drawing all takes seconds."""
    return computed_once("plots-of-two-folds", lambda: list(islice(plots(result, folds), None if NIGHTLY else 2)))


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


def test_a_result_tells_what_was_tested_and_how_far_it_is() -> None:
    found, steps = result_of_two_folds()
    assert sum(steps) == RESULT_STEPS
    fold, second = found.folds
    assert (fold.season, fold.games, fold.train_seasons, fold.calibration_seasons) == (2033, 300, (2030, 2031), (2032,))
    assert second.season == 2034
    assert found.games == 600


def test_the_expected_margin_is_held_against_knowing_no_team(result: BacktestResult, folds: list[FoldScores]) -> None:
    pooled = pool(folds)
    final = pooled.outcomes[:, 1]
    assert result.ratings["carried"]["mae"].value == pytest.approx(np.abs(final - pooled.margins).mean(), rel=1e-5)
    assert tuple(result.ratings) == EXPECTATIONS
    # The margins of these walks do not come from teams: results of other games say nothing of them.
    errors = [result.ratings[name]["rmse"].value for name in ("carried", "frozen", "home advantage")]
    assert errors == sorted(errors)


def test_the_document_is_json_that_names_recipe_seasons_and_verdict(result: BacktestResult) -> None:
    document = json.loads(to_json(result), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["recipe"] == RUN.recipe
    assert document["seasons"] == [2033, 2034]
    assert document["verdict"]["fit"] is result.verdict.fit
    assert document["verdict"]["reason"] == result.verdict.reason
    value, lower, upper = document["figures"]["final"]["minute"]["18"]["values"]["served"]["crps"]
    found = result.figures["final"]["minute"]["18"].values["served"]["crps"]
    assert (value, lower, upper) == pytest.approx((found.value, found.lower, found.upper), rel=1e-5)
    assert len(document["promises"]) == len(result.promises)


def test_promises_name_what_was_found(result: BacktestResult) -> None:
    by_name = {check.name: check for check in result.promises}
    half, final = (result.figures[horizon] for horizon in ("halftime", "final"))
    aims = {
        "halftime from minute 18: CRPS relative to the linear model": (half["minute"]["18"], "linear", "crps"),
        "final, minutes 42–47: CRPS relative to the linear model": (final["late"]["42–47"], "linear", "crps"),
        "winner, all minutes: Brier score relative to the logistic regression": (
            final["all"]["all"],
            "logistic",
            "brier",
        ),
    }
    reached = {
        "halftime from minute 18: CRPS relative to the linear model": lambda it: it.value <= -0.002 and it.upper < 0,
        "final, minutes 42–47: CRPS relative to the linear model": lambda it: it.value <= -0.007,
        "winner, all minutes: Brier score relative to the logistic regression": lambda it: (
            it.value <= -0.0025 and it.upper <= 0.001
        ),
    }
    for name, (group, reference, metric) in aims.items():
        ratio = group.relative["served"][reference][metric]
        assert by_name[name].found == f"{ratio:+.2%}"
        assert by_name[name].passed == reached[name](ratio)
    error = final["all"]["all"].values["served"]["ece"].value
    assert by_name["winner, all minutes: expected calibration error"].passed == (error <= 0.01)
    spread = by_name["coverage at 80 %, served, final: standard deviation between seasons"]
    found = next(
        each
        for each in result.season_coverages
        if (each.forecaster, each.horizon, each.level) == ("served", "final", 80)
    )
    assert spread.passed == (found.spread <= 0.013)
    assert spread.found.startswith(f"{100 * found.spread:.2f} points")


def test_intervals_are_shown_with_and_without_the_factor_of_the_season(
    result: BacktestResult, report: EvaluationReport
) -> None:
    [table] = [each for each in report.tables if each.title == "Final: intervals that follow the season"]
    assert [row[:3] for row in table.rows[:2]] == [
        ("2033", "300", "… no factor of the season"),
        ("2033", "300", "Served"),
    ]
    assert [row[0] for row in table.rows] == ["2033", "2033", "2034", "2034", "all", "all"]
    for row, name in zip(table.rows[-2:], ("static", "served"), strict=True):
        values = result.figures["final"]["all"]["all"].values[name]
        assert row[3] == f"{100 * values['coverage_95'].value:.1f}"
        assert row[-1] == f"{values['winkler_95'].value:.2f}"


def test_what_is_not_reached_is_said_plainly() -> None:
    checks = [Check("one aim", "at most 0", "1", False), Check("another", "at most 0", "-1", True)]
    assert missed(checks) == "1 of 2 are reached; not reached: one aim."
    assert missed(checks[1:]) == "1 of 1 are reached."


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


def test_plots_are_the_same_each_time(result: BacktestResult, folds: list[FoldScores], drawn: list[Plot]) -> None:
    assert list(islice(plots(result, folds), 2)) == drawn[:2]


@pytest.mark.nightly
def test_all_plots_are_the_same_each_time(result: BacktestResult, folds: list[FoldScores]) -> None:
    assert list(plots(result, folds)) == list(plots(result, folds))


def test_plots_are_pictures(html: str, drawn: list[Plot]) -> None:
    for plot in drawn:
        assert plot.svg in html
        picture = ET.fromstring(plot.svg)
        assert picture.tag.endswith("svg")
        assert picture.findall(".//{http://www.w3.org/2000/svg}path")


def test_games_are_chosen_by_rule(folds: list[FoldScores]) -> None:
    pooled = pool(folds)
    chosen = chosen_games(pooled)
    comeback = chosen["Largest comeback"]
    lost = [(-leads * np.sign(final)).max() for leads, final in zip(pooled.leads, pooled.outcomes[:, 1], strict=True)]
    assert lost[comeback] == max(lost)
    mean_leads = np.abs(pooled.leads).mean(axis=1)
    assert mean_leads[chosen["Closest game"]] == mean_leads.min()
    assert mean_leads[chosen["Most one-sided game"]] == mean_leads.max()
    crps = pooled.forecasts["served"].crps
    assert crps is not None
    means = crps[:, cases_of(Horizon.FINAL)].mean(axis=1)
    assert np.sort(means)[(len(means) - 1) // 2] == means[chosen["Median CRPS"]]


def test_the_fan_chart_shows_the_ordinary_game(folds: list[FoldScores]) -> None:
    pooled = pool(folds)
    game = chosen_games(pooled)["Median CRPS"]
    chart = fan_chart(folds)
    assert f"{pooled.away[game]} at {pooled.home[game]}, {pooled.date[game]}: {pooled.outcomes[game, 1]:+d}" in chart
