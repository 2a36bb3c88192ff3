"""The trainer's commands end to end: files, output and exit codes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import quick_recipe, small_bundle
from tests.support.harness.documents import ROOT
from tests.trainer.harness import QUICK_RECIPE, run

from dejavu_common.rich_console import Console
from dejavu_models.types import MarginSource
from dejavu_store.bundle import load_bundle
from dejavu_trainer.data.games import load_games
from dejavu_trainer.reports.runs import print_fit
from dejavu_trainer.training.recipe import TrainingConfig

QUICK = quick_recipe()

GOOD = "game_id,type,home,away,elapsed_s,home_score,away_score\n202301010BOS,RS,BOS,BRK,60,2,0\n"


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Make `fit` use the quick recipe; the standard one takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dejavu_trainer.training.recipe.TrainingConfig", partial(replace, QUICK))
        patch.setattr("dejavu_trainer.training.totals.MIN_GAMES", 100)
        yield


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four short simulated seasons, 2031 to 2034."""
    folder = tmp_path_factory.mktemp("seasons")
    assert run("simulate", "--season", "2031-2034", "--games", 150, "--out", folder) == 0
    return folder


def keys(document: dict[str, Any]) -> Iterator[str]:
    """Yield all keys of a document, nested ones included."""
    for key, value in document.items():
        yield key
        if isinstance(value, dict):
            yield from keys(value)


def backtest_of(folder: Path, recipe: TrainingConfig) -> Path:
    """Write the result of a backtest: a fit that takes it skips its own test, which takes most of its time."""
    path = folder / "backtest.json"
    verdict = {"fit": False, "reason": "made by hand"}
    path.write_text(json.dumps({"recipe": recipe.digest, "seasons": [2030], "verdict": verdict}))
    return path


@pytest.mark.nightly  # by day, tests/trainer/test_pipeline.py fits one
def test_fit_replaces_a_bundle_and_says_what_it_made(
    seasons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = small_bundle(tmp_path / "b")
    tested = backtest_of(tmp_path, replace(QUICK, weights={"dejavu": 0.25, "lstm": 0.125}))
    (tmp_path / "r.toml").write_text(f"{QUICK_RECIPE}weights = {{ dejavu = 0.25, lstm = 0.125 }}\n")
    arguments = ("--data", seasons, "--train", "2031", "--calibrate", "2032", "--out", tmp_path / "b")
    assert run("fit", *arguments, "--backtest", tested, "--config", tmp_path / "r.toml", "--seed", 5, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    bundle = load_bundle(tmp_path / "b", allow_unfit=True)
    assert document["model_version"] == bundle.version != before
    assert document["dejavu"] == {"games": 150, "similar_games": 100}
    assert {each["weight"] for each in document["weights"]} == {0.625, 0.25, 0.125}
    assert (document["train_seasons"], document["train_games"]) == ([2031], 150)
    assert document["verdict"] == bundle.manifest.verdict.model_dump(mode="json")
    assert document["ratings"]["season"] == 2032, "the games end before the Finals"
    explained = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "training.md").read_text()))
    assert set(keys(document)) <= explained
    assert document["bytes"] == sum(file.stat().st_size for file in (tmp_path / "b").iterdir())
    assert all(re.fullmatch(r"[^:]+: \d+ of \d+, \d+ s", line) for line in captured.err.splitlines()), "progress alone"
    print_fit(Console(file=(printed := io.StringIO()), width=100), document)
    told = " ".join(printed.getvalue().split())
    assert "[bold" not in told
    for said in (bundle.version, "UNFIT", "home advantage alone", "whether these are the same was not checked"):
        assert said in told
    assert "150 games, and as many mirror images; a forecast has 100" in told
    assert "linear 0.62 to 0.62, dejavu 0.25 to 0.25, lstm 0.12 to 0.12" in told

    totals = bundle.totals
    assert totals is not None, "there are games enough, and the season is in play"
    assert totals.models[MarginSource.KNOWN].games == 300
    assert (totals.ratings.season, totals.ratings.awaits_season) == (2032, False)
    assert totals.ratings.newest == bundle.rating_filter.newest


@pytest.mark.parametrize(
    ("train", "calibrate", "code", "complaint"),
    [
        ("2031-2032", "2032", 1, "2032"),
        ("2031", "2039", 1, "plays_2039.parquet"),
        ("2031-30", "2032", 2, "neither a season"),
        ("2032-2031", "2033", 2, "backwards"),
    ],
)
def test_fit_refuses_seasons_that_it_can_not_use(
    seasons: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    train: str,
    calibrate: str,
    code: int,
    complaint: str,
) -> None:
    out = tmp_path / "bundle"
    assert run("fit", "--data", seasons, "--train", train, "--calibrate", calibrate, "--out", out) == code
    assert complaint in capsys.readouterr().err
    assert not out.exists()


def test_simulate_does_not_write_over_a_season_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("simulate", "--season", "2031", "--games", 5, "--out", tmp_path)
    assert run(*arguments) == 0
    first = load_games(tmp_path, [2031]).fingerprint
    assert run(*arguments, "--seed", 1) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert load_games(tmp_path, [2031]).fingerprint == first
    assert run(*arguments, "--seed", 1, "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seasons"][0]["games"] == 5
    assert load_games(tmp_path, [2031]).fingerprint != first


def test_import_keeps_a_good_file_as_a_season(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quarters = "".join(f"202301010BOS,RS,BOS,BRK,{720 * quarter},{2 + quarter},0\n" for quarter in (1, 2, 3, 4))
    (tmp_path / "mine.csv").write_text(GOOD + quarters)
    out = tmp_path / "data"
    assert run("import", tmp_path / "mine.csv", "--season", 2023, "--out", out, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "file": str(out / "plays_2023.parquet"),
        "rows": 5,
        "games": 1,
        "left_out": 0,
        "regular_games": 1,
        "regular_games_expected": 1_230,
    }
    assert load_games(out, [2023]).game_id.tolist() == ["202301010BOS"]


def test_import_says_what_is_wrong_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "202301010BOS,RS,BOS,BRK,30,2,0\n"
    (tmp_path / "mine.csv").write_text(GOOD + bad * 30)
    arguments = ("import", tmp_path / "mine.csv", "--season", 2023, "--out", tmp_path / "data")
    assert run(*arguments) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("row 2 (line 3), elapsed_s: 30 after 60 in the same game: time runs back")
    assert told[-1].endswith("30 problems; nothing was written")
    assert not (tmp_path / "data").exists()
    assert run(*arguments, "--json") == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 30
    assert problems[0].keys() == {"row", "line", "column", "message"}


def test_import_leaves_nothing_where_no_game_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text(GOOD)  # one row: three quarters have none
    assert run("import", tmp_path / "mine.csv", "--season", 2023, "--out", tmp_path / "data") == 1
    assert "no complete game" in capsys.readouterr().err
    assert not (tmp_path / "data" / "plays_2023.parquet").exists()


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
