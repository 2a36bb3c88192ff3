"""docs/data.md names everything that a user meets: columns, options and keys."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import typer.main

from dejavu_trainer.commands import app
from dejavu_trainer.evaluate import Evaluation, GroupFigures, IntervalFigures, ModelFigures
from dejavu_trainer.plays import COLUMNS

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))


@pytest.mark.parametrize("kind", [Evaluation, GroupFigures, ModelFigures, IntervalFigures])
def test_every_key_of_an_evaluation_is_explained(kind: type) -> None:
    assert {field.name for field in dataclasses.fields(kind)} <= CODE


def test_every_column_is_explained() -> None:
    assert set(COLUMNS) <= CODE


def test_every_command_is_shown_with_its_options() -> None:
    commands = typer.main.get_group(app).commands
    assert commands.keys() == {"fit", "evaluate", "import", "simulate"}
    for name, command in commands.items():
        assert f"dejavu-trainer {name}" in TEXT
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or option == "--help" or option in TEXT, f"{name} {option}"
