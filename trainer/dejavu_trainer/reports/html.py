"""Renders a result as a self-contained HTML page with inline plots; needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dejavu_trainer.evaluation.result import BacktestResult
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.reports.plots import plots
from dejavu_trainer.reports.tables import check_lists, tables
from dejavu_trainer.reports.text import method_line

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """Render a template of this package."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def page(title: str, result: BacktestResult, folds: Sequence[FoldScores], warning: str = "") -> str:
    """Render metrics and the scores that they are computed from, after a warning if there is one."""
    return render(
        "report.html.j2",
        title=title,
        method=method_line(result.method, result.games),
        result=result,
        warning=warning,
        plots=list(plots(result, folds)),
        checks=check_lists(result),
        tables=list(tables(result)),
    )
