"""`dejavu risk`: how unsettled a game is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dejavu.v1.prediction_service_pb2 import AssessRiskResponse
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.cli.options.pattern import Pattern, PatternJson, read_pattern
from dejavu_client.output.forecast import print_json
from dejavu_client.output.market import LEVELS


def risk(
    pattern: Pattern = None,
    *,
    pattern_json: PatternJson = None,
    total_points: Annotated[
        int | None,
        typer.Option(metavar="POINTS", help="Points of both teams together so far; the pace is left out without them."),
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Tell how unsettled a game is, 0 to 100, from the course of its score so far (2 minutes or more)."""
    values = read_pattern(pattern or [], pattern_json)
    if total_points is not None and not 0 <= total_points < 2**32:
        raise typer.BadParameter(f"{total_points} is no number of points", param_hint="--total-points")
    with connect(target, timeout) as client:
        answer = client.assess_risk(values, total_points)
    if as_json:
        print_json(answer)
    else:
        print_risk(answer)


def print_risk(answer: AssessRiskResponse) -> None:
    """The score, what it is made of, and what deserves attention."""
    level = LEVELS.get(answer.level, "unknown")
    table = Table(title=f"{answer.score:.0f} of 100: {level}", title_justify="left")
    for name in ("factor", "measured", "games with less", "weight", "adds"):
        table.add_column(name, justify="left" if name == "factor" else "right", no_wrap=True)
    for factor in answer.factors:
        table.add_row(
            factor.name,
            f"{factor.value:.1f} {factor.unit}",
            f"{factor.score:.0f} %",
            f"{100 * factor.weight:.0f} %",
            f"{factor.contribution:.1f}",
        )
    table.add_section()
    table.add_row("risk", "", "", "", f"{answer.score:.1f}")
    console = Console()
    console.print(table)
    for warning in answer.warnings:
        console.print(f"· {warning}", highlight=False, markup=False, soft_wrap=True)
