"""The trainer's commands end to end: files, output and exit codes."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import SEASON_GAMES, quick_recipe, simulated_seasons, small_bundle
from tests.support.harness.documents import ROOT
from tests.trainer.harness import QUICK_RECIPE, backtest_of, run, told

from dejavu_common.rich_console import Console
from dejavu_store.bundle import load_bundle
from dejavu_trainer.data.games import load_games
from dejavu_trainer.reports.runs import print_document


def keys(document: dict[str, Any]) -> Iterator[str]:
    """Yield all keys of a document, nested ones included."""
    for key, value in document.items():
        yield key
        if isinstance(value, dict):
            yield from keys(value)


@pytest.mark.nightly  # by day, tests/trainer/test_pipeline.py fits one
def test_fit_replaces_a_bundle_and_says_what_it_made(tmp_path: Path) -> None:
    before = small_bundle(tmp_path / "b")
    tested = backtest_of(tmp_path, replace(quick_recipe(), weights={"dejavu": 0.25, "lstm": 0.125}))
    (tmp_path / "r.toml").write_text(f"{QUICK_RECIPE}weights = {{ dejavu = 0.25, lstm = 0.125 }}\n")
    arguments = ("--data", simulated_seasons(), "--train", "2031", "--calibrate", "2032", "--out", tmp_path / "b")
    options = ("--backtest", tested, "--config", tmp_path / "r.toml", "--seed", 5, "--json")
    done = told("fit", *arguments, *options)
    document = done.document
    bundle = load_bundle(tmp_path / "b", allow_unfit=True)
    assert document["model_version"] == bundle.version != before
    assert document["dejavu"] == {"games": SEASON_GAMES, "similar_games": 80}
    assert {each["weight"] for each in document["weights"]} == {0.625, 0.25, 0.125}
    assert (document["train_seasons"], document["train_games"]) == ([2031], SEASON_GAMES)
    assert document["verdict"] == bundle.manifest.verdict.model_dump(mode="json")
    assert document["ratings"]["season"] == 2032, "the games end before the Finals"
    explained = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "training.md").read_text()))
    assert set(keys(document)) <= explained
    assert document["bytes"] == sum(file.stat().st_size for file in (tmp_path / "b").iterdir())
    assert all(re.fullmatch(r"[^:]+: \d+ of \d+, \d+ s", line) for line in done.err.splitlines()), "progress alone"
    print_document(Console(file=(printed := io.StringIO()), width=100), document)
    text = " ".join(printed.getvalue().split())
    assert "[bold" not in text
    for said in (bundle.version, "verdict UNFIT", "whether these are the same was not checked"):
        assert said in text
    assert f"dejavu games {SEASON_GAMES}, similar games 80" in text


def test_simulate_does_not_write_over_a_season_unless_told(tmp_path: Path) -> None:
    arguments = ("simulate", "--season", "2031", "--games", 5, "--out", tmp_path)
    assert run(*arguments) == 0
    first = load_games(tmp_path, [2031]).fingerprint
    refused = told(*arguments, "--seed", 1)
    assert (refused.code, "--overwrite" in refused.err) == (1, True)
    assert load_games(tmp_path, [2031]).fingerprint == first
    assert told(*arguments, "--seed", 1, "--overwrite", "--json").document["seasons"][0]["games"] == 5
    assert load_games(tmp_path, [2031]).fingerprint != first


def test_a_missing_extra_is_told_by_name() -> None:
    program = "import sys; sys.modules['pyarrow'] = None; from dejavu_trainer.cli.main import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "pyarrow is not installed" in done.stderr
    assert "dejavu-forecast[trainer]" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_do_not_train_do_not_load_torch() -> None:
    program = "import sys; from dejavu_trainer.cli import evaluate, fetch, fit, main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
