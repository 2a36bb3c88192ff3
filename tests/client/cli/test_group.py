"""The table of commands, and the help of every command."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from typer.testing import CliRunner

from dejavu_client.cli.group import COMMANDS
from dejavu_client.cli.main import app

ROOT: Any = typer.main.get_command(app)


def parameters() -> list[tuple[str, Any]]:
    """Returns every parameter of every command, including the root's."""
    commands = {name: ROOT.get_command(None, name) for name in COMMANDS}
    return [(name, parameter) for name, command in {"": ROOT, **commands}.items() for parameter in command.params]


@pytest.mark.parametrize(
    ("command", "parameter"), parameters(), ids=lambda value: getattr(value, "name", value) or "dejavu"
)
def test_every_option_and_argument_has_help(command: str, parameter: Any) -> None:
    text = getattr(parameter, "help", None)
    assert text, f"{command} {parameter.name}"
    assert text.endswith("."), f"{command} {parameter.name}: {text}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert ROOT.get_command(None, name).help


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
from importlib.machinery import PathFinder

hidden = set(sys.argv.pop(1).split(","))


class WithoutSome(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in hidden else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutSome

from dejavu_client.cli.main import main

main()
"""
"""Runs the program without some packages; the first argument lists them."""


def run_without(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, hidden, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("hidden", "command", "message"),
    [
        ("nba_api", ["poll"], "poll needs nba_api, which is not installed: pip install 'dejavu-forecast[live]'"),
        ("nba_api", ["demo"], "demo needs nba_api, which is not installed: pip install 'dejavu-forecast[live]'"),
        (
            "uvloop,sqlalchemy",
            ["demo"],
            "demo needs sqlalchemy, uvloop, which are not installed: pip install 'dejavu-forecast[server]'",
        ),
        (
            "nba_api,sqlalchemy",
            ["demo", "--json"],
            "demo needs nba_api, sqlalchemy, which are not installed: pip install 'dejavu-forecast[live,server]'",
        ),
    ],
)
def test_a_command_without_what_it_needs_says_which_extra_to_install(
    hidden: str, command: list[str], message: str
) -> None:
    ended = run_without(hidden, *command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"Error: {message}\n")


def test_replaying_a_file_says_which_extra_to_install(tmp_path: Path) -> None:
    ended = run_without("pyarrow", "replay", "--games", str(tmp_path / "plays.parquet"), "--date", "2021-05-16")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pip install 'dejavu-forecast[live]'" in ended.stderr


@pytest.mark.parametrize("name", ["poll", "demo"])
def test_help_needs_no_extra(name: str) -> None:
    ended = run_without("nba_api,uvloop", name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--json" in ended.stdout


def test_every_extra_a_command_needs_brings_what_it_needs() -> None:
    """The modules in the table belong to packages of the extra, so that installing the extra helps."""
    brought = dict[str, set[str]]()
    for requirement in (Requirement(line) for line in requires("dejavu-forecast") or ()):
        for extra in ("live", "server"):
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                brought.setdefault(extra, set()).add(requirement.name.lower().replace("_", "-"))
    providers = packages_distributions()
    for name, command in COMMANDS.items():
        assert command.missing() == {}, name
        for extra, modules in command.needs.items():
            for module in modules:
                assert {each.lower().replace("_", "-") for each in providers[module]} & brought[extra], module
