"""`dejavu risk`: the risk score of a game."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from dejavu.v1.market_pb2 import RiskLevel
from dejavu.v1.prediction_service_pb2 import AssessRiskResponse
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.cli.options.pattern import Pattern, PatternJson, read_pattern
from dejavu_client.formatting import enum_word
from dejavu_client.output.forecast import show
from dejavu_client.output.responsive_table import titled_table


def risk(
    pattern: Pattern = None,
    *,
    pattern_json: PatternJson = None,
    total_points: Annotated[
        int | None,
        typer.Option(metavar="POINTS", help="Points of both teams so far; without them the pace is not a factor."),
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show a game's risk score, 0 to 100, computed from its score differentials so far (2 minutes or more)."""
    values = read_pattern(pattern or [], pattern_json)
    if total_points is not None and not 0 <= total_points < 2**32:
        raise typer.BadParameter(f"{total_points} is not a valid number of points", param_hint="--total-points")
    with connect(target, timeout) as client:
        answer = client.assess_risk(values, total_points)
    show(answer, print_risk, as_json=as_json)


def print_risk(answer: AssessRiskResponse) -> None:
    """Prints the score, its factors and the warnings."""
    level = enum_word(RiskLevel.DESCRIPTOR, answer.level) or "unknown"
    headers = ("factor", "value", "percentile", "weight", "contribution")
    table = titled_table(f"{answer.score:.0f} of 100: {level}", *headers, no_wrap=True)
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
