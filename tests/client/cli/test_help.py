"""The help of every command of the three programs, at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dejavu_client.cli.main import app as client
from dejavu_server.cli.serve import app as server
from dejavu_trainer.cli import evaluate, fetch, fit  # noqa: F401 - registers the commands
from dejavu_trainer.cli.app import app as trainer

ELLIPSES = ("]...", "0 2 -3 …")
"""Texts that end in an ellipsis on purpose."""


PROGRAMS: Any = {"dejavu": client, "dejavu-server": server, "dejavu-trainer": trainer}


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the words that select each command below a group, and the group itself."""
    yield path
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from paths(command.get_command(None, name), (*path, name))


ALL = [(program, path) for program, app in PROGRAMS.items() for path in paths(typer.main.get_command(app))]


@pytest.mark.parametrize(("program", "path"), ALL, ids=[" ".join((program, *path)) for program, path in ALL])
def test_help_cuts_no_name_at_eighty_columns(program: str, path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(PROGRAMS[program], [*path, "--help"], env={"COLUMNS": "80"}).stdout
    command: Any = typer.main.get_command(PROGRAMS[program])
    for name in path:
        command = command.get_command(None, name)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert [name for name in (*parameter.opts, *parameter.secondary_opts) if name not in shown] == []
            variable = parameter.envvar if parameter.show_envvar else None
            assert variable is None or variable in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    for text in ELLIPSES:
        shown = shown.replace(text, "")
    assert "…" not in shown
    assert "..." not in shown


def test_the_first_help_says_how_to_reach_a_server_at_another_address() -> None:
    told = " ".join(CliRunner().invoke(client, ["--help"], env={"COLUMNS": "80"}).output.split())
    assert "`--target HOST:PORT` after the command, or DEJAVU_TARGET in the environment" in told
