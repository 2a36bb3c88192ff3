"""The command `retrain`: its output and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_seasons, small_bundle_folder
from tests.support.harness.documents import ROOT
from tests.trainer.harness import run


def options(work: Path) -> tuple[object, ...]:
    return ("--from", simulated_seasons(), "--work", work, "--parent", small_bundle_folder())


def test_check_says_which_trigger_stands_and_exits_as_grep_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES) == 0
    assert "Due: new games" in capsys.readouterr().out
    assert run("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES + 1, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["due"], document["newer_games"], document["triggers"]) == (False, SEASON_GAMES, [])
    assert run("retrain", "--from", "nowhere", "--work", tmp_path, "--check") == 2
    assert "nowhere: cannot be read" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("retrain", "--from", simulated_seasons(), "--work", tmp_path, "--target", "127.0.0.1:1", "--check")
    error = capsys.readouterr().err
    assert code == 2
    assert "dejavu models list" in error
    assert "Traceback" not in error


def test_a_problem_that_does_not_exist_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("retrain", *options(tmp_path), "--accept", "late-games") == 2
    assert "missing-teams" in " ".join(capsys.readouterr().err.split())


@pytest.mark.nightly
def test_a_watch_ends_with_sigterm(tmp_path: Path) -> None:
    arguments = [str(each) for each in (*options(tmp_path), "--watch", "--new-games", SEASON_GAMES + 1, "--json")]
    command = [sys.executable, "-u", "-m", "dejavu_trainer", "retrain", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "{\n"  # it has looked once
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(30) == 0
        finally:
            process.kill()
