"""`dejavu-server ledger …`: text and JSON output, and errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson
from tests.ledger.copies.evenings import rows_at
from tests.support.tampering.tampering import Specimen, full_specimen
from typer.testing import CliRunner

from dejavu.v1 import record_service_pb2 as pb
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.audit.verification import InvalidCheckpoint
from dejavu_ledger.records import Checkpoint
from dejavu_server.api.converters.record import checkpoint_message
from dejavu_server.cli import checkpoint_files, serve


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return full_specimen(tmp_path_factory.mktemp("ledger"))


@pytest.fixture
def kept(specimen: Specimen, tmp_path: Path) -> Checkpoint:
    """A checkpoint of a populated ledger at `url`."""
    (tmp_path / "ledger.db").write_bytes(specimen.content)
    key = checkpoints.key_path(f"sqlite:///{tmp_path}/ledger.db")
    key.write_bytes(specimen.key.read_bytes())
    key.chmod(0o600)
    return specimen.kept


@pytest.fixture
def file(kept: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "kept.json"
    path.write_text(MessageToJson(checkpoint_message(kept)))
    return path


def run(*args: object, **environment: str) -> Any:
    texts = ["ledger", *(str(each) for each in args)]
    return CliRunner().invoke(serve.app, texts, env={"COLUMNS": "200", "TERM": "dumb", **environment})


def test_a_sound_ledger_is_told_with_its_hash_and_checkpoint(url: str, kept: Checkpoint, file: Path) -> None:
    plain = run("verify", "--ledger", url)
    assert plain.exit_code == 0, plain.output
    assert kept.hash.hex() in plain.output
    assert "not compared with a checkpoint" in plain.output
    held = run("verify", "--checkpoint", file, DEJAVU_LEDGER=url)
    assert held.exit_code == 0, held.output
    assert f"nothing up to {kept.sequence} was changed" in held.output
    assert held.stderr == ""
    told = json.loads(run("verify", "--ledger", url, "--checkpoint", file, "--json").stdout)
    assert (told["failed"], told["sequence"], told["hash"]) == (False, kept.sequence, kept.hash.hex())
    assert (told["checkpoint"], told["keys"]) == (kept.sequence, [kept.public_key.hex()])


def test_a_tampered_ledger_is_one_line_and_exit_code_1(url: str, kept: Checkpoint, file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1")
    result = run("verify", "--ledger", url, "--checkpoint", file, "--json")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("dejavu-server: entry 1: the row in forecasts")
    told = json.loads(result.stdout)
    assert (told["failed"], told["reason"]) == (True, "LEDGER_CORRUPT")


def test_checkpoints_of_other_keys_are_refused(url: str, kept: Checkpoint, file: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text(kept.public_key.hex())
    other.write_text("00" * 32)
    assert run("verify", "--ledger", url, "--public-key", mine, "--checkpoint", file).exit_code == 0
    assert run("verify", "--ledger", url, "--public-key", other, "--public-key", mine).exit_code == 0
    refused = run("verify", "--ledger", url, "--public-key", other)
    assert (refused.exit_code, "signed with another key" in refused.stderr) == (1, True)
    refused = run("verify", "--ledger", url, "--public-key", other, "--checkpoint", file)
    assert "the checkpoint is signed with another key" in refused.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "is not a checkpoint file"), ("[]", "is not a JSON object"), ("{}", "hash has 0 bytes"), ('{"no": 1}', "no")],
)
def test_a_file_without_a_checkpoint_is_named(
    url: str, kept: Checkpoint, tmp_path: Path, content: str, why: str
) -> None:
    path = tmp_path / "kept.json"
    path.write_text(content)
    result = run("verify", "--ledger", url, "--checkpoint", path)
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert why in result.stderr


@pytest.mark.parametrize("what", ["--checkpoint", "--public-key"])
def test_a_file_that_is_not_there_is_named(url: str, kept: Checkpoint, what: str) -> None:
    result = run("verify", "--ledger", url, what, "/nowhere/at/all")
    assert (result.exit_code, result.stderr) == (1, "dejavu-server: /nowhere/at/all: No such file or directory\n")


COMMANDS = (
    ["verify"],
    ["checkpoint", "--out", "-"],
    ["export", "--out", "games"],
    ["backup", "--out", "b.db"],
    ["copy", "--to", "sqlite:///c.db"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_missing_ledger_is_not_made(tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = run(*command, "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert (missing.exit_code, "there is no ledger at" in missing.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
    wrong = run(*command, "--ledger", "/tmp/x.sqlite3")
    assert (wrong.exit_code, "for this file: sqlite:////tmp/x.sqlite3" in wrong.stderr) == (2, True)


def test_a_checkpoint_signed_without_a_server_is_one_to_verify_with(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    result = run("checkpoint", "--ledger", url, "--out", out)
    assert result.exit_code == 0, result.output
    mine = checkpoint_files.read(out)
    assert (mine.sequence, mine.hash, mine.public_key) == (kept.sequence, kept.hash, kept.public_key)
    assert run("verify", "--ledger", url, "--checkpoint", out).exit_code == 0
    printed = run("checkpoint", "--ledger", url, "--out", "-")
    assert json.loads(printed.stdout)["hash"] == json.loads(out.read_text())["hash"]


def test_a_key_of_ones_own_signs_if_it_is_told(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    key = tmp_path / "own.pem"
    public = checkpoints.load_or_create(key).public_key().public_bytes_raw()
    assert run("checkpoint", "--ledger", url, "--out", tmp_path / "a.json", "--signing-key", key).exit_code == 0
    assert run("checkpoint", "--ledger", url, "--out", tmp_path / "b.json", DEJAVU_SIGNING_KEY=str(key)).exit_code == 0
    assert {checkpoint_files.read(tmp_path / name).public_key for name in ("a.json", "b.json")} == {public}
    key.chmod(0o644)
    refused = run("checkpoint", "--ledger", url, "--out", tmp_path / "c.json", "--signing-key", key)
    assert (refused.exit_code, "expected 0600" in refused.stderr) == (1, True)
    assert not (tmp_path / "c.json").exists()


def test_what_a_client_keeps_reads_back_as_it_was_signed(kept: Checkpoint, file: Path, tmp_path: Path) -> None:
    assert checkpoint_files.read(file) == kept
    whole = tmp_path / "whole.json"
    whole.write_text(MessageToJson(pb.GetCheckpointResponse(checkpoint=checkpoint_message(kept))))
    assert checkpoint_files.read(whole) == kept
    names = MessageToDict(checkpoint_message(kept), preserving_proto_field_name=True)
    whole.write_text(json.dumps(names))
    assert checkpoint_files.read(whole) == kept
    names["signed_time"] = names["signed_time"].replace("Z", "001Z")
    whole.write_text(json.dumps(names))
    with pytest.raises(InvalidCheckpoint, match="finer than a microsecond"):
        checkpoint_files.read(whole)


def test_entries_are_exported_with_the_hashes_that_the_chain_has(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "entries.jsonl"
    told = run("export-entries", "--ledger", url, "--out", path)
    assert told.exit_code == 0, told.output
    assert told.output.endswith(f"up to sequence {kept.sequence}, hash {kept.hash.hex()}\n")
    identity, *entries = map(json.loads, path.read_text().splitlines())
    assert identity == {"ledger_id": kept.ledger_id, "epoch": kept.epoch}
    assert [entry["sequence"] for entry in entries] == list(range(1, kept.sequence + 1))
    assert entries[-1]["hash"] == kept.hash.hex()
    assert run("export-entries", "--ledger", url, "--out", "-").stdout == path.read_text()


@pytest.mark.parametrize(
    ("command", "forced"), [("export-entries", "--overwrite"), ("checkpoint", "--force"), ("backup", "")]
)
def test_a_file_is_replaced_only_if_told(url: str, kept: Checkpoint, tmp_path: Path, command: str, forced: str) -> None:
    path = tmp_path / "there"
    path.write_text("last week's\n")
    refused = run(command, "--ledger", url, "--out", path)
    assert (refused.exit_code, path.read_text()) == (1, "last week's\n")
    assert re.fullmatch(rf"dejavu-server: {path} (already )?exists\b.*\n", refused.stderr)
    if forced:
        assert run(command, "--ledger", url, "--out", path, forced).exit_code == 0
        assert path.read_text() != "last week's\n"


def test_a_backup_is_restored_and_copied_and_each_says_what_it_has(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    made = run("backup", "--out", tmp_path / "backup.db", "--ledger", url)
    assert made.exit_code == 0, made.output
    assert f"{kept.sequence} entries, verified" in made.stdout
    assert "verifying" in made.stderr
    restored = run("restore", "--backup", tmp_path / "backup.db", DEJAVU_LEDGER=f"sqlite:///{tmp_path}/restored.db")
    assert restored.exit_code == 0, restored.output
    assert "resume tokens issued before expire" in restored.stdout
    copied = run("copy", "--to", f"sqlite:///{tmp_path}/copy.db", "--ledger", url, "--json")
    assert copied.exit_code == 0, copied.output
    told = json.loads(copied.stdout)
    assert (told["failed"], told["added"], told["sequence"]) == (False, kept.sequence, kept.sequence)
    assert copied.stderr == "", "a program reads no progress"
    assert rows_at(tmp_path / "copy.db") == rows_at(tmp_path / "backup.db")


def test_wrong_usage_is_exit_code_2_and_names_the_option(url: str, kept: Checkpoint) -> None:
    for command, why in (
        (["ledger", "copy", "--to", "nonsense"], "Invalid value for --to"),
        (["ledger", "copy", "--to", url], "is the ledger itself; expected another database"),
        (["ledger", "restore"], "Missing option '--backup'"),
        (["--workers", "3", "ledger", "verify"], "--workers: this is an option of the server"),
        (["--allow-unfit", "ledger", "verify"], "--allow-unfit: this is an option of the server"),
    ):
        given = {"COLUMNS": "200", "TERM": "dumb", "DEJAVU_LEDGER": url}
        result = CliRunner().invoke(serve.app, command, env=given)
        assert (result.exit_code, why in result.stderr) == (2, True), result.output


def as_others(*command: object) -> subprocess.CompletedProcess[str]:
    """Run `dejavu-server ledger …` in a process that obeys permissions, as that of a user other than root does."""
    bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all") if not os.geteuid() else ()
    if bound and shutil.which(bound[0]) is None:
        pytest.skip("root is bound by no permission, and there is no setpriv to bind it")
    texts = [*bound, sys.executable, "-P", "-m", "dejavu_server", "ledger", *(str(each) for each in command)]
    return subprocess.run(texts, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.nightly
def test_a_ledger_in_a_read_only_folder_is_read(url: str, kept: Checkpoint, file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)  # what SQLite needs files beside it for
    tmp_path.chmod(0o555)
    try:
        verified = as_others("verify", "--ledger", url, "--checkpoint", file)
        exported = as_others("export-entries", "--ledger", url, "--out", "-")
    finally:
        tmp_path.chmod(0o755)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert f"nothing up to {kept.sequence} was changed" in verified.stdout
    assert (exported.returncode, exported.stderr) == (0, "")
    assert json.loads(exported.stdout.splitlines()[-1])["hash"] == kept.hash.hex()
