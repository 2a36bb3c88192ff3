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


def test_it_tells_what_it_wrote_and_which_season_has_not_begun(
    service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", "--seasons", "2024-25,2030-31", "--out", tmp_path, "--url", service.url) == 1
    told, file, rows = capsys.readouterr(), tmp_path / "plays_2025.parquet", truth(GAMES)
    assert told.out == f"{file}: {len(rows):,} rows, 5 games; 3 of about 1,230 games of the regular season\n"
    assert told.err.splitlines() == [
        "2024-25: 5 games finished; 0 of them cached",
        "2024-25: 0 of 5, 0 s",
        "dejavu-trainer: 2030-31: the NBA lists no finished game",
    ]
    assert rows_of(file) == rows


def test_games_that_could_not_be_had_are_listed_until_they_are(
    service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.faults[GAMES[2].game_id] = [status(500)] * AT_ONCE.max_attempts
    arguments = ("fetch", "--seasons", "2024-25", "--out", tmp_path, "--url", service.url)
    assert run(*arguments) == 1
    told, listing = capsys.readouterr(), tmp_path / "missing_2025.csv"
    assert f"{GAMES[2].game_id} " in told.err
    assert told.err.count("status 500; retrying in 0 s\n") == AT_ONCE.max_attempts - 1
    assert f"1 games of 2024-25 could not be fetched; {listing} lists them; run the same command again" in told.err
    assert listing.is_file()
    assert run(*arguments) == 0
    assert not listing.exists()


def test_programs_get_one_document(service: StatsStandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    game = GAMES[0]
    service.faults[game.game_id] = [status(404)]
    arguments = ("--seasons", "2024-25", "--out", tmp_path, "--url", service.url, "--season-type", "regular", "--json")
    assert run("fetch", *arguments) == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    missing = {
        "game_id": game.game_id,
        "teams": f"{game.away} @ {game.home}",
        "type": "RS",
        "date": game.day.isoformat(),
        "reason": "status 404, after 1 attempt",
    }
    season = {
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
        "missing": [missing],
    }
    assert document == {"seasons": [season], "stopped": ""}
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in [*document, *season] if f"`{key}`" not in explained]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seasons", "2024-26"), "did you mean 2024-25?"),
        (("--seasons", "2024-25", "--season-type", "preseason"), "preseason"),
        (("--seasons", "2024-25", "--url", "nba"), "'nba' is not the address of a service"),
        ((), "--seasons"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert run("fetch", *arguments, "--out", tmp_path / "data") == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "data").exists()
