"""Runs fetches from a fake service without waits, for the tests of `dejavu-trainer fetch`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn

from dejavu_feed.nba.stats_service import NbaStats
from dejavu_trainer.data.fetch import FetchResult, Phase, fetch
from dejavu_trainer.data.plays import DATED
from dejavu_trainer.data.retries import RetryingClient, RetryPolicy

AT_ONCE = RetryPolicy(spacing=0.0, first_wait=0.0, max_attempts=3)


class Notes:
    """A fetch observer that stores its calls."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.games = 0
        self.said: list[str] = []
        self.waits: list[tuple[float, str]] = []

    def begin(self, season: str, games: int, there: int) -> None:
        self.begun.append((season, games, there))

    def done(self, season: str) -> None:
        self.games += 1

    def say(self, text: str) -> None:
        self.said.append(text)

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append((seconds, reason))


def fetch_from(
    service: StatsStandIn,
    out: Path,
    *,
    seasons: Sequence[int] = (2025,),
    phases: Sequence[Phase] = tuple(Phase),
    notes: Notes | None = None,
    pace: RetryPolicy = AT_ONCE,
    timeout: float = 5.0,
    overwrite: bool = False,
) -> list[FetchResult]:
    """Return the results of a fetch from a fake service."""
    notes = notes or Notes()
    client = RetryingClient(pace, notes.waiting)
    with closing(NbaStats(service.url, timeout=timeout, limit=timeout)) as stats:
        return list(fetch(stats, seasons, phases, out, notes, client, overwrite=overwrite))


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Return the rows of a file of plays."""
    return [tuple(row[name] for name in DATED.names) for row in pq.read_table(path).to_pylist()]


def truth(games: Sequence[PlayedOnce]) -> list[tuple[object, ...]]:
    """Return the expected rows of a file of these games, in order of date and id."""
    return [row for game in sorted(games, key=lambda game: (game.day, game.game_id)) for row in game.rows]


def files_of(out: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
