"""`dejavu teams`: the teams and their accepted names."""

from __future__ import annotations

import json

import typer

from dejavu_cli.options import Json
from dejavu_cli.output.responsive_table import titled_table
from dejavu_common.rich_console import Console
from dejavu_feed.teams import TEAMS, also_called, formerly


def teams(as_json: Json = False) -> None:
    """List the teams and their accepted names (case-insensitive): BOS, Boston, Celtics or Boston Celtics."""
    if as_json:
        for code, team in TEAMS.items():
            entry = {
                "code": code,
                "number": team.number,
                "city": team.city,
                "name": team.name,
                "aliases": also_called(code),
                "formerly": [
                    {"code": then, "city": was.city, "name": was.name, "seasons": list(was.seasons)}
                    for then, was in formerly(code).items()
                ],
            }
            typer.echo(json.dumps(entry))
        return
    table = titled_table("teams", "code", "city", "name", "also", "formerly")
    for column in table.columns:
        column.justify = "left"
    for code, team in TEAMS.items():
        table.add_row(code, team.city, team.name, ", ".join(also_called(code)), ", ".join(_former(code)))
    Console().print(table)


def _former(code: str) -> list[str]:
    return [f"{then} {first}–{last}" for then, (*_, (first, last)) in formerly(code).items()]
