"""`dejavu-trainer fetch` end to end: text and JSON output, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.stats_service import StatsStandIn, season_of_games, status
from tests.support.harness.documents import ROOT
from tests.support.harness.fetch import AT_ONCE, rows_of, truth
from tests.trainer.harness import run

from dejavu_trainer.cli import fetch

GAMES = season_of_games(3)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the waits, which no option disables."""
    monkeypatch.setattr(fetch, "RetryPolicy", lambda: AT_ONCE)


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def test_it_says_what_it_wrote(service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    assert run("fetch", "--seasons", "2024-25", "--out", out, "--url", service.url) == 0
    told = capsys.readouterr()
    rows = truth(GAMES)
    assert (
        told.out
        == f"{out / 'plays_2025.parquet'}: {len(rows):,} rows, 5 games; 3 of about 1,230 games of the regular season\n"
    )
    assert told.err == "2024-25: 5 games finished; 0 of them cached\n2024-25: 0 of 5, 0 s\n"
    assert rows_of(out / "plays_2025.parquet") == rows


def test_what_could_not_be_had_is_said_and_listed(
    service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.faults[GAMES[2].game_id] = [status(500)] * AT_ONCE.max_attempts
    arguments = ("--seasons", "2024-25", "--out", tmp_path, "--url", service.url)
    assert run("fetch", *arguments) == 1
    told = capsys.readouterr()
    assert told.out.endswith(" rows, 4 games; 2 of about 1,230 games of the regular season\n")
    assert f"{GAMES[2].game_id} " in told.err
    assert told.err.count("status 500; retrying in 0 s\n") == AT_ONCE.max_attempts - 1
    listing = tmp_path / "missing_2025.csv"
    assert told.err.endswith(
        f"dejavu-trainer: 1 games of 2024-25 could not be fetched; {listing} lists them; run the same command again to"
        " retry\n"
    )
    assert listing.is_file()
    assert run("fetch", *arguments) == 0
    assert not listing.exists()


def test_programs_get_one_document(service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    game = GAMES[0]
    service.faults[game.game_id] = [status(404)]
    arguments = ("--seasons", "2024-25", "--out", tmp_path, "--url", service.url, "--season-type", "regular", "--json")
    assert run("fetch", *arguments) == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    (season,) = document["seasons"]
    assert document["stopped"] == ""
    (missing,) = season.pop("missing")
    teams = missing.pop("teams")
    assert missing == {
        "game_id": game.game_id,
        "type": "RS",
        "date": game.day.isoformat(),
        "reason": "status 404, after 1 attempt",
    }
    assert teams == f"{game.away} @ {game.home}"
    assert season == {
        "season": "2024-25",
        "file": str(tmp_path / "plays_2025.parquet"),
        "rows": len(truth(GAMES[1:3])),
        "games": 2,
        "left_out": 0,
        "regular_games": 2,
        "regular_games_expected": 1230,
        "fetched": 2,
        "not_over": 0,
        "missing_file": str(tmp_path / "missing_2025.csv"),
    }
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in [*document, *season, "missing"] if f"`{key}`" not in explained]


def test_a_season_that_has_not_begun_hides_none_before_it(
    service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", "--seasons", "2024-25,2030-31", "--out", tmp_path, "--url", service.url) == 1
    told = capsys.readouterr()
    assert told.out.endswith(" rows, 5 games; 3 of about 1,230 games of the regular season\n")
    assert told.err.endswith("dejavu-trainer: 2030-31: the NBA lists no finished game\n")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--seasons", "2024-26"), 2, "did you mean 2024-25?"),
        (("--seasons", "2024-25", "--season-type", "preseason"), 2, "preseason"),
        (("--seasons", "2024-25", "--url", "nba"), 2, "'nba' is not the address of a service"),
        ((), 2, "--seasons"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("fetch", *arguments, "--out", tmp_path / "data") == code
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
