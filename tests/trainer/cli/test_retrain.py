"""The command `retrain`: its output and exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_seasons, small_bundle_folder
from tests.support.harness.documents import ROOT
from tests.trainer.harness import told


def options(work: Path) -> tuple[object, ...]:
    return ("--from", simulated_seasons(), "--work", work, "--parent", small_bundle_folder())


def test_check_names_the_met_trigger_and_exits_as_grep_does(tmp_path: Path) -> None:
    due = told("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES)
    assert (due.code, "kind new games" in due.out) == (0, True)
    not_due = told("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES + 1, "--json")
    document = not_due.document
    assert not_due.code == 1
    assert (document["due"], document["newer_games"], document["triggers"]) == (False, SEASON_GAMES, [])


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--from", "nowhere", "--check"), 2, "nowhere: cannot be read"),
        (("--from", "SEASONS", "--target", "127.0.0.1:1", "--store", "s"), 1, "dejavu models list"),
        (("--from", "x", "--target", "127.0.0.1:1"), 2, "needs --store"),
        (("--from", "x", "--promote"), 2, "--target"),
        (("--from", "x", "--target", "127.0.0.1:1", "--store", "s", "--promote", "--check"), 2, "--check only reports"),
        (("--from", "x", "--check", "--watch"), 2, "--check exits at once"),
        (("--from", "x", "--accept", "late-games"), 2, "missing-teams"),
    ],
)
def test_a_refusal_is_told_in_a_line(tmp_path: Path, arguments: tuple[str, ...], code: int, complaint: str) -> None:
    given = [simulated_seasons() if each == "SEASONS" else each for each in arguments]
    refused = told("retrain", "--work", tmp_path, *given)
    error = " ".join(refused.err.split())
    assert refused.code == code
    assert complaint in error
    assert "Traceback" not in error


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
