"""`dejavu-server ledger backup|restore|copy`: text and JSON output, refusals and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.copies.evenings import rows_at, write_evenings
from typer.testing import CliRunner

from dejavu_server.cli import serve


def run(*args: object, **environment: str) -> Any:
    texts = ["ledger", *(str(each) for each in args)]
    return CliRunner().invoke(serve.app, texts, env={"COLUMNS": "200", "TERM": "dumb", **environment})


@pytest.fixture
def sequences(tmp_path: Path) -> list[int]:
    """Sequences at the ends of the evenings of a ledger at `url`."""
    return [each.sequence for each in write_evenings(tmp_path / "ledger.db", 3).signed]


def test_a_backup_is_restored_and_copied_and_each_says_what_it_has(
    url: str, sequences: list[int], tmp_path: Path
) -> None:
    made = run("backup", "--out", tmp_path / "backup.db", "--ledger", url)
    assert made.exit_code == 0, made.output
    assert f"{sequences[-1]} entries, verified" in made.stdout
    assert "verifying" in made.stderr
    restored = run("restore", "--backup", tmp_path / "backup.db", DEJAVU_LEDGER=f"sqlite:///{tmp_path}/restored.db")
    assert restored.exit_code == 0, restored.output
    assert "resume tokens issued before expire" in restored.stdout
    copied = run("copy", "--to", f"sqlite:///{tmp_path}/copy.db", "--ledger", url, "--json")
    assert copied.exit_code == 0, copied.output
    told = json.loads(copied.stdout)
    assert (told["failed"], told["added"], told["sequence"]) == (False, sequences[-1], sequences[-1])
    assert copied.stderr == "", "a program reads no progress"
    assert rows_at(tmp_path / "copy.db") == rows_at(tmp_path / "backup.db")


def test_a_name_that_is_taken_is_one_line_and_exit_code_1(url: str, sequences: list[int], tmp_path: Path) -> None:
    (tmp_path / "backup.db").write_text("mine")
    refused = run("backup", "--out", tmp_path / "backup.db", "--ledger", url, "--json")
    assert refused.exit_code == 1
    assert refused.stderr == f"dejavu-server: {tmp_path}/backup.db already exists; expected a name that is free\n"
    assert json.loads(refused.stdout)["failed"] is True


def test_wrong_usage_is_exit_code_2_and_names_the_option(url: str, sequences: list[int], tmp_path: Path) -> None:
    for command, why in (
        (["copy", "--to", "nonsense"], "Invalid value for --to"),
        (["copy", "--to", f"sqlite:///{tmp_path}/ledger.db"], "is the ledger itself; expected another database"),
        (["restore"], "Missing option '--backup'"),
    ):
        result = run(*command, DEJAVU_LEDGER=url)
        assert (result.exit_code, why in result.stderr) == (2, True), result.output
