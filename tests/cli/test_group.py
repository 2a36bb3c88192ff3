"""The help of every command of the three programs, completion, and commands without the extra that they need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from typer.testing import CliRunner

from dejavu_cli.main import COMMANDS, CONNECTION, app
from dejavu_server.cli.serve import app as server
from dejavu_trainer.cli import evaluate, fit, games  # noqa: F401 - registers the commands
from dejavu_trainer.cli.app import app as trainer

ELLIPSES = ("]...", "}...", "FILE...", "0 2 -3 …")
"""Texts that end in an ellipsis on purpose."""
HEADINGS = ["Watch:", "Ask:", "Record:", "Operate:"]
PROGRAMS: Any = {"dejavu": app, "dejavu-server": server, "dejavu-trainer": trainer}


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that select each command below a group, and the group itself."""
    yield path
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from paths(command.get_command(None, name), (*path, name))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_says_all_and_cuts_no_name_at_eighty_columns(program: str) -> None:
    root = typer.main.get_command(PROGRAMS[program])
    connection = CliRunner().invoke(app, ["--help-connection"], env={"COLUMNS": "80"}).stdout
    assert all(len(line) <= 80 for line in connection.splitlines())
    for path in paths(root):
        shown = CliRunner().invoke(PROGRAMS[program], [*path, "--help"], env={"COLUMNS": "80"}).stdout
        command: Any = root
        for name in path:
            command = command.get_command(None, name)
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)
            if parameter.param_type_name == "option":
                assert [name for name in (*parameter.opts, *parameter.secondary_opts) if name not in shown] == []
                variable = parameter.envvar if parameter.show_envvar else None
                assert variable is None or variable in (connection if parameter.name in CONNECTION else shown)
        assert all(len(line) <= 80 for line in shown.splitlines()), path
        for text in ELLIPSES:
            shown = shown.replace(text, "")
        assert not [mark for mark in ("…", "...") if mark in shown], path


def test_the_first_help_has_the_exit_codes_and_how_to_reach_another_server() -> None:
    told = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output.split())
    assert [word for word in told.split() if word in HEADINGS] == HEADINGS
    assert "`--target HOST:PORT` after the command, or DEJAVU_TARGET in the environment" in told
    for code in ("0 done", "1 failed", "2 wrong usage", "3 no answer", "4 the server refused", "130 interrupted"):
        assert code in told


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["helth"])
    assert result.exit_code == 2
    assert "Did you mean 'health'?" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands_is_offered(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_DEJAVU_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", "dejavu pre")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "dejavu pre")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    result = CliRunner().invoke(app, [], prog_name="dejavu")
    assert "predict" in result.stdout
    assert "stream" not in result.stdout


WITHOUT = """
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder

hidden = set(sys.argv.pop(1).split(","))


class WithoutSome(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in hidden else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutSome

from importlib import import_module

import_module(sys.argv.pop(1)).main()
"""
"""Runs a program without some packages; the first argument lists them, and the second is the program's module."""


LIVE = "pip install 'dejavu-forecast[live]'"
LIVE_AND_SERVER = (
    "nba_api, prometheus_client, uvloop, which are not installed: pip install 'dejavu-forecast[live,server]'"
)


@pytest.mark.parametrize(
    ("hidden", "command", "said"),
    [
        ("nba_api,prometheus_client,uvloop", "demo --json", LIVE_AND_SERVER),
        pytest.param("pyarrow", "replay --games plays.parquet --date 2021-05-16", LIVE, marks=pytest.mark.nightly),
        pytest.param("pyarrow", "predictions --parquet file", LIVE, marks=pytest.mark.nightly),
    ],
)
def test_a_command_without_what_it_needs_says_which_extra_to_install(
    hidden: str, command: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "plays.parquet").touch()
    program = [sys.executable, "-c", WITHOUT, hidden, "dejavu_cli.main", *command.split()]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def normal(name: str) -> str:
    """Return the name of a distribution as indexes compare it."""
    return name.lower().replace("_", "-")


def modules_of_extras() -> list[str]:
    """Return the modules that only extras install."""
    needed = [Requirement(line) for line in requires("dejavu-forecast") or ()]
    always, extras = ({normal(each.name) for each in needed if (each.marker is None) is base} for base in (True, False))
    found = packages_distributions().items()
    return [module for module, packages in found if set(map(normal, packages)) <= extras - always]


@pytest.mark.parametrize(
    ("program", "arguments", "code", "said"),
    [
        ("dejavu_cli.main", ["--help"], 0, list(COMMANDS)),  # loads every command
        ("dejavu_gateway.cli", ["--help"], 0, ["--target"]),
        ("dejavu_gateway.cli", [], 1, ["'.[dashboard]'"]),
    ],
)
def test_help_needs_no_extra(program: str, arguments: list[str], code: int, said: list[str]) -> None:
    hidden = modules_of_extras()
    assert {"httpx2", "mcp", "nba_api", "numpy", "pydantic", "torch", "uvloop"} <= set(hidden)
    command = [sys.executable, "-c", WITHOUT, ",".join(hidden), program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    assert set(said) <= set((ended.stderr if code else ended.stdout).split())
    assert "Traceback" not in ended.stderr


def test_every_extra_that_a_command_needs_brings_what_it_needs() -> None:
    """The modules in the table belong to packages of the extra, so that installing the extra helps."""
    brought = dict[str, set[str]]()
    for requirement in (Requirement(line) for line in requires("dejavu-forecast") or ()):
        for extra in ("live", "mcp", "notify", "server"):
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                brought.setdefault(extra, set()).add(normal(requirement.name))
    providers = packages_distributions()
    for name, command in COMMANDS.items():
        for extra, modules in command.needs.items():
            for module in modules:
                assert set(map(normal, providers[module])) & brought[extra], (name, module)
