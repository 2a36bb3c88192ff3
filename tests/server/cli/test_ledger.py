"""`dejavu-server ledger …`: text and JSON output, and errors."""

from __future__ import annotations

import json
import os
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


def test_a_sound_ledger_is_told_with_its_hash_and_a_tampered_one_is_exit_code_1(
    url: str, kept: Checkpoint, file: Path, tmp_path: Path
) -> None:
    plain = run("verify", "--ledger", url)
    assert (plain.exit_code, kept.hash.hex() in plain.output) == (0, True), plain.output
    assert "not compared with a checkpoint" in plain.output
    told = json.loads(run("verify", "--checkpoint", file, "--json", DEJAVU_LEDGER=url).stdout)
    assert (told["failed"], told["sequence"], told["hash"]) == (False, kept.sequence, kept.hash.hex())
    assert (told["checkpoint"], told["keys"]) == (kept.sequence, [kept.public_key.hex()])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1")
    result = run("verify", "--ledger", url, "--checkpoint", file, "--json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "entry 1: the row in forecasts" in result.stderr
    told = json.loads(result.stdout)
    assert (told["failed"], told["reason"]) == (True, "LEDGER_CORRUPT")


def test_checkpoints_of_other_keys_are_refused(url: str, kept: Checkpoint, file: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text(kept.public_key.hex())
    other.write_text("00" * 32)
    assert run("verify", "--ledger", url, "--public-key", other, "--public-key", mine).exit_code == 0
    assert run("verify", "--ledger", url, "--public-key", mine, "--checkpoint", file).exit_code == 0
    for options in ((), ("--checkpoint", file)):
        refused = run("verify", "--ledger", url, "--public-key", other, *options)
        assert (refused.exit_code, "signed with another key" in refused.stderr) == (1, True)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"no": 1}', None])
def test_a_file_without_a_checkpoint_is_named(url: str, kept: Checkpoint, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kept.json"
    if content is not None:
        path.write_text(content)
    result = run("verify", "--ledger", url, "--checkpoint", path)
    assert (result.exit_code, str(path) in result.stderr) == (1, True)


def test_a_missing_ledger_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("verify", "checkpoint --out -", "export --out games", "backup --out b", "copy --to sqlite:///c.db"):
        missing = run(*command.split(), "--ledger", f"sqlite:///{tmp_path}/ledger.db")
        assert (missing.exit_code, "there is no ledger at" in missing.stderr) == (1, True), command
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_signed_without_a_server_is_one_to_verify_with(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    assert run("checkpoint", "--ledger", url, "--out", out).exit_code == 0
    mine = checkpoint_files.read(out)
    assert (mine.sequence, mine.hash, mine.public_key) == (kept.sequence, kept.hash, kept.public_key)
    assert run("verify", "--ledger", url, "--checkpoint", out).exit_code == 0
    key = tmp_path / "own.pem"
    public = checkpoints.load_or_create(key).public_key().public_bytes_raw()
    printed = run("checkpoint", "--ledger", url, "--out", "-", DEJAVU_SIGNING_KEY=str(key))
    out.write_text(printed.stdout)
    assert checkpoint_files.read(out).public_key == public
    key.chmod(0o644)
    refused = run("checkpoint", "--ledger", url, "--out", tmp_path / "c.json", "--signing-key", key)
    assert (refused.exit_code, "expected 0600" in refused.stderr) == (1, True)
    assert not (tmp_path / "c.json").exists()


def test_what_a_client_keeps_reads_back_as_it_was_signed(kept: Checkpoint, file: Path) -> None:
    message = checkpoint_message(kept)
    for text in (MessageToJson(message), MessageToJson(pb.GetCheckpointResponse(checkpoint=message)),
                 MessageToJson(message, preserving_proto_field_name=True)):  # fmt: skip
        file.write_text(text)
        assert checkpoint_files.read(file) == kept
    names = MessageToDict(message)
    file.write_text(json.dumps({**names, "signedTime": names["signedTime"].replace("Z", "001Z")}))
    with pytest.raises(InvalidCheckpoint, match="microsecond"):
        checkpoint_files.read(file)


def test_entries_are_exported_with_the_hashes_that_the_chain_has(url: str, kept: Checkpoint) -> None:
    told = run("export-entries", "--ledger", url, "--out", "-")
    assert told.exit_code == 0, told.output
    identity, *entries = map(json.loads, told.stdout.splitlines())
    assert identity == {"ledger_id": kept.ledger_id, "epoch": kept.epoch}
    assert [entry["sequence"] for entry in entries] == list(range(1, kept.sequence + 1))
    assert entries[-1]["hash"] == kept.hash.hex()


def test_a_file_is_replaced_only_if_told(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "there"
    for command, forced in (("export-entries", "--overwrite"), ("checkpoint", "--force"), ("backup", "")):
        path.write_text("last week's\n")
        refused = run(command, "--ledger", url, "--out", path)
        assert (refused.exit_code, path.read_text(), str(path) in refused.stderr) == (1, "last week's\n", True)
        if forced:
            assert run(command, "--ledger", url, "--out", path, forced).exit_code == 0
            assert path.read_text() != "last week's\n"


def test_a_backup_is_restored_and_copied_and_each_says_what_it_has(url: str, kept: Checkpoint, tmp_path: Path) -> None:
    made = run("backup", "--out", tmp_path / "backup.db", "--ledger", url)
    assert (made.exit_code, f"{kept.sequence} entries, verified" in made.stdout) == (0, True), made.output
    restored = run("restore", "--backup", tmp_path / "backup.db", DEJAVU_LEDGER=f"sqlite:///{tmp_path}/restored.db")
    assert restored.exit_code == 0, restored.output
    copied = run("copy", "--to", f"sqlite:///{tmp_path}/copy.db", "--ledger", url, "--json")
    told = json.loads(copied.stdout)
    assert (told["failed"], told["added"], told["sequence"]) == (False, kept.sequence, kept.sequence)
    assert copied.stderr == "", "a program reads no progress"
    assert rows_at(tmp_path / "copy.db") == rows_at(tmp_path / "backup.db")


def test_wrong_usage_is_exit_code_2_and_names_the_option(url: str, kept: Checkpoint) -> None:
    for command, why in (
        (["ledger", "copy", "--to", "nonsense"], "--to"),
        (["ledger", "copy", "--to", url], "is the ledger itself"),
        (["ledger", "verify", "--ledger", "/tmp/x.sqlite3"], "sqlite:////tmp/x.sqlite3"),
        (["--workers", "3", "ledger", "verify"], "--workers: this is an option of the server"),
    ):
        result = CliRunner().invoke(serve.app, command, env={"COLUMNS": "200", "TERM": "dumb", "DEJAVU_LEDGER": url})
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
