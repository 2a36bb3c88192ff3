"""The table of commands, and every command's help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import dejavu_client
from dejavu_client.cli import app
from dejavu_client.cli_group import COMMANDS, Command

ROOT: Any = typer.main.get_command(app)


def parameters() -> list[tuple[str, Any]]:
    """Every parameter of every command, the root's included."""
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
    command = ROOT.get_command(None, name)
    assert command.help
    assert "Not installed" not in command.help


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


def test_a_command_whose_extra_is_missing_says_which_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cli_extra.py").write_text("import heavy_library\n")
    monkeypatch.setattr(dejavu_client, "__path__", [*dejavu_client.__path__, str(tmp_path)])
    monkeypatch.setitem(COMMANDS, "extra", Command("cli_extra", "extra", extra="live"))
    result = CliRunner().invoke(app, ["extra"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: extra needs heavy_library, which is not installed: pip install 'dejavu-forecast[live]'\n"
    )
    assert "Not installed: pip install 'dejavu-forecast[live]'" in CliRunner().invoke(app, ["--help"]).stdout
