"""docs/training.md documents columns, commands and options. JSON keys: cli/test_models.py and test_games.py."""

from __future__ import annotations

import re

import pytest
import typer.main
from tests.support.harness.documents import ROOT

import dejavu_trainer.cli.fit  # noqa: F401 - registers the commands
from dejavu_trainer.cli.app import app
from dejavu_trainer.data.plays import SCHEMA

TEXT = (ROOT / "docs" / "training.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_column_is_explained() -> None:
    assert set(SCHEMA.names) <= CODE


@pytest.mark.parametrize("name", ["fetch", "fit", "import", "refresh", "simulate"])
def test_every_command_is_shown_with_its_options(name: str) -> None:
    assert f"dejavu-trainer {name}" in TEXT
    for parameter in typer.main.get_group(app).commands[name].params:
        for option in parameter.opts:
            assert not option.startswith("--") or option == "--help" or option in TEXT, option
