"""Totals in the result of a walk-forward: figures, aims, JSON and reports; without them all stay as they are."""

from __future__ import annotations

import json

import pytest
from tests.support.builders.folds import RUN, result_of_two_folds, two_folds
from tests.support.builders.random_walks import paced_games, with_total_lines

from dejavu_trainer.evaluation.backtest import backtest_totals
from dejavu_trainer.evaluation.result import BacktestResult, result_of, to_json
from dejavu_trainer.reports.backtest import report_of
from dejavu_trainer.reports.render import markdown, page

# By day, test_total_metrics.py and scoring/test_totals.py have the figures,
# and tests/trainer/test_reports.py has the reports.
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    games = with_total_lines(paced_games(340, range(2030, 2035)))
    return result_of(two_folds(), RUN, backtest_totals(games, [2033, 2034], 2), resamples=50)


def test_the_document_has_totals_as_it_has_margins(result: BacktestResult) -> None:
    document = json.loads(to_json(result))
    group = document["totals"]["final"]["minute"]["24"]
    assert group["games"] == 680
    value, lower, upper = group["relative"]["totals"]["pace"]["crps"]
    assert lower <= value <= upper
    assert set(document["totals"]["halftime"]["season"]) == {"2033", "2034"}


def test_the_aims_and_the_tables_of_totals_are_added(result: BacktestResult) -> None:
    plain, _ = result_of_two_folds()
    assert plain.totals is None
    assert json.loads(to_json(plain))["totals"] is None
    added = [check for check in result.promises if check.name.startswith("total points")]
    assert [*plain.promises, *added] == list(result.promises)
    assert len(added) == 10
    report, of_plain = report_of("Walk", result), report_of("Walk", plain)
    assert all(len(row) == len(table.header) for table in report.tables for row in table.rows)
    titles = [table.title for table in report.tables]
    assert {"Final: total points, by minute", "Final: total points with the line, by season"} <= set(titles)
    assert [title for title in titles if "total points" not in title] == [table.title for table in of_plain.tables]
    for shown in (markdown(report), page(report, [])):
        assert "Pace × time" in shown
        assert added[0].name in shown
    assert "total points" not in markdown(of_plain)
