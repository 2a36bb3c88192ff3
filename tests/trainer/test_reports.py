from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from html import unescape
from itertools import islice

import pytest
from tests.support.builders.folds import RUN, result_of_two_folds
from tests.support.builders.made_once import computed_once
from tests.support.harness.laws import NIGHTLY

from dejavu_common.rich_console import Console
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.backtest import document_of
from dejavu_trainer.evaluation.verdict import missed
from dejavu_trainer.reports.backtest import EvaluationReport, Plot, markdown, page, print_report, report_of
from dejavu_trainer.reports.plots import fan_chart, ordinary_game, plots


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


def test_the_document_is_json_with_all_figures() -> None:
    result = result_of_two_folds()
    document = json.loads(json.dumps(document_of(result), allow_nan=False))
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


def test_tables_have_a_cell_for_every_column(report: EvaluationReport) -> None:
    for table in (*report.tables, *report.checks):
        assert table.rows
        assert all(len(row) == len(table.header) for row in table.rows)
    for block in re.findall(r"(?:^\|.*\n)+", markdown(report), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


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
    for plot in drawn:
        assert f"<h2>{plot.title}</h2>" in html
        assert plot.svg in html
    assert html.count("<svg") == len(drawn)


def test_plots_are_pictures_and_the_same_each_time(drawn: list[Plot]) -> None:
    assert list(islice(plots(result_of_two_folds().figures), len(drawn))) == drawn
    for plot in drawn:
        assert ET.fromstring(plot.svg).findall(".//{http://www.w3.org/2000/svg}path")


def test_the_fan_chart_shows_the_ordinary_game() -> None:
    table = result_of_two_folds().table
    crps, game = table.by_minute(Horizon.FINAL, "served.crps").mean(axis=1), ordinary_game(table)
    assert (crps < crps[game]).sum() == (len(table) - 1) // 2
    away, home, date = (table.columns[f"game.{name}"][game] for name in ("away", "home", "date"))
    assert f"{away} at {home}, {date}: {table.by_minute(Horizon.FINAL, 'outcome')[game, 0]:+d}" in fan_chart(table)
