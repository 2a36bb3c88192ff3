"""Runs fetches from a fake service without waits, for the tests of `dejavu-trainer fetch`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn

from dejavu_feed.files.plays_format import COLUMNS, DATE
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.data.fetch import FetchResult, fetch
from dejavu_trainer.data.retries import RetryingClient
from dejavu_trainer.execution import Advance, Progress

ATTEMPTS = 3


class Notes(Progress):
    """What a fetch says: its lines, its waits with their reasons, and the number of games of each season."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waits: list[tuple[float, str]] = []
        self.games: dict[str, int] = {}

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        self.games[name] = 0

        def advance(units: int) -> None:
            self.games[name] += units

        yield advance

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append((seconds, reason))

    def client(self) -> RetryingClient:
        """Return a client without waits."""
        return RetryingClient(self.waiting, spacing=0.0, first_wait=0.0, max_attempts=ATTEMPTS)


class Killed(BaseException):
    """Stands in for a kill; no code may clean up after it."""


class KilledAfter:
    """A service that ends its caller after some requests."""

    def __init__(self, service: StatsStandIn, requests: int) -> None:
        self._stats = NbaStats(service.url, timeout=5.0)
        self._left = requests

    def game_log(self, season: str, season_type: str) -> Any:
        self._count()
        return self._stats.game_log(season, season_type)

    def plays(self, game_id: str) -> Any:
        self._count()
        return self._stats.plays(game_id)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._stats.close()
            raise Killed


def fetch_from(
    service: StatsStandIn,
    out: Path,
    *,
    seasons: Sequence[int] = (2025,),
    notes: Notes | None = None,
    stats: Stats | None = None,
    timeout: float = 5.0,
    overwrite: bool = False,
) -> list[FetchResult]:
    """Return the results of a fetch from a fake service."""
    notes = notes or Notes()
    with closing(NbaStats(service.url, timeout=timeout, limit=timeout)) as real:
        fetched = fetch(stats or real, seasons, out, notes.client(), notes, notes.said.append, overwrite=overwrite)
        return list(fetched)


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Return the rows of a file of plays."""
    return [tuple(row[name] for name in (*COLUMNS, DATE)) for row in pq.read_table(path).to_pylist()]


def truth(games: Sequence[PlayedOnce]) -> list[tuple[object, ...]]:
    """Return the expected rows of a file of these games, in order of date and id."""
    return [row for game in sorted(games, key=lambda game: (game.day, game.game_id)) for row in game.rows]


def files_of(out: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
