"""Totals in the result of a walk-forward: figures, aims, JSON and reports; without them all stay as they are."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from tests.support.builders.folds import RUN, result_of_two_folds, two_folds
from tests.support.builders.random_walks import paced_games, with_total_lines

from dejavu_trainer.evaluation.result import BacktestResult, result_of, to_json
from dejavu_trainer.evaluation.totals.walk_forward import backtest_totals
from dejavu_trainer.reports.html import page
from dejavu_trainer.reports.plots import plots
from dejavu_trainer.reports.tables import tables
from dejavu_trainer.reports.text import markdown

# By day, test_fold.py and test_metrics.py have the figures, and tests/trainer/test_reports.py has the reports.
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


def test_the_aims_and_the_tables_of_totals_are_added(result: BacktestResult, monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawing all plots takes seconds.
    monkeypatch.setattr("dejavu_trainer.reports.html.plots", lambda *drawn: islice(plots(*drawn), 2))
    plain, _ = result_of_two_folds()
    assert plain.totals is None
    assert json.loads(to_json(plain))["totals"] is None
    added = [check for check in result.promises if check.name.startswith("total points")]
    assert [*plain.promises, *added] == list(result.promises)
    assert len(added) == 10
    assert all(len(row) == len(table.header) for table in tables(result) for row in table.rows)
    titles = [table.title for table in tables(result)]
    assert {"Final: total points, by minute", "Final: total points with the line, by season"} <= set(titles)
    assert [title for title in titles if "total points" not in title] == [table.title for table in tables(plain)]
    text, html = markdown("Walk", result), page("Walk", result, two_folds())
    for shown in (text, html):
        assert "Pace × time" in shown
        assert added[0].name in shown
    assert "total points" not in markdown("Walk", plain)
