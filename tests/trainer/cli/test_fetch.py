"""`dejavu-trainer fetch` end to end: text and JSON output, and exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.fakes.stats_service import StatsStandIn, season_of_games, status
from tests.support.harness.documents import ROOT
from tests.support.harness.fetch import ATTEMPTS, truth
from tests.trainer.harness import told

from dejavu_trainer.data.retries import RetryingClient

GAMES = season_of_games(3)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the waits, which no option disables."""
    client = partial(RetryingClient, spacing=0.0, first_wait=0.0, max_attempts=ATTEMPTS)
    monkeypatch.setattr("dejavu_trainer.cli.fetch.RetryingClient", client)


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def test_it_says_what_it_wrote_and_what_could_not_be_had(service: StatsStandIn, tmp_path: Path) -> None:
    game = GAMES[0]
    service.faults[game.game_id] = [status(500)] * ATTEMPTS
    arguments = ("fetch", "--seasons", "2024-25", "--out", tmp_path, "--url", service.url)
    done = told(*arguments, "--json")
    document = done.document
    (season,) = document["seasons"]
    assert (done.code, document["stopped"]) == (1, "")
    assert season == {
        "season": "2024-25",
        "file": str(tmp_path / "plays_2025.parquet"),
        "rows": len(truth(GAMES[1:])),
        "games": 4,
        "left_out": 0,
        "regular_games": 2,
        "regular_games_expected": 1230,
        "not_over": 0,
        "missing": [
            {
                "game_id": game.game_id,
                "date": game.day.isoformat(),
                "teams": f"{game.away} @ {game.home}",
                "reason": "status 500, after 3 attempts",
            }
        ],
    }
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in [*document, *season] if f"`{key}`" not in explained]
    said = ["2024-25: 0 of 5", *["status 500; retrying in 0 s"] * (ATTEMPTS - 1), f"{game.game_id} "]
    *lines, last = done.err.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))
    assert last == "dejavu-trainer: 1 games of 2024-25 could not be fetched; run the same command again to retry"
    rows = f"{len(truth(GAMES)):,} rows, 5 games; 3 of about 1,230 games of the regular season"
    assert told(*arguments).out == f"{tmp_path / 'plays_2025.parquet'}: {rows}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seasons", "1995-96"), "the NBA has plays from 1996-97 on, not of 1995-96"),
        (("--seasons", "2024-25", "--url", "nba"), "'nba' is not the address of a service"),
        ((), "--seasons"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    refused = told("fetch", *arguments, "--out", tmp_path / "data")
    assert refused.code == 2
    assert complaint in " ".join(refused.err.replace("│", " ").split())
    assert not (tmp_path / "data").exists()
