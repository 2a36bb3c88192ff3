"""Exports completed games of the ledger as training data, one plays_{season}.parquet per season.

docs/training.md describes the format. Games that do not fit it are skipped and returned with the reason.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dejavu_common.build import install
from dejavu_common.files import atomic_replace
from dejavu_feed import live_inputs
from dejavu_feed.pattern import Score
from dejavu_ledger.database.backends import read_only_ledger
from dejavu_ledger.queries.completed_games import CompletedGame, SkippedGame, completed_games
from dejavu_models.errors import DejavuError


class ExportError(DejavuError, reason="CANNOT_EXPORT"):
    """The export failed before it wrote a file; the message says why."""


@dataclass(frozen=True, slots=True)
class Season:
    """An exported file of one season.

    Attributes:
        season: the year in which the season ends.
        path: the file.
        games, rows: number of games and rows in the file.
    """

    season: int
    path: Path
    games: int
    rows: int


@dataclass(frozen=True, slots=True)
class Export:
    """Result of an export: the files by season, and the skipped games."""

    seasons: tuple[Season, ...]
    left_out: tuple[SkippedGame, ...]


def export_games(
    url: str,
    folder: Path,
    *,
    seasons: Collection[int] = (),
    min_minutes: int,
    include_replays: bool = False,
    overwrite: bool = False,
) -> Export:
    """Write the completed games of a ledger to a folder, one file per season; create the folder if needed.

    Args:
        url: URL of the ledger.
        folder: output folder.
        seasons: seasons to export, by the year in which they end; empty for all.
        min_minutes: minimum number of minutes with a known differential.
        include_replays: whether to include games of replays and simulated seasons.
        overwrite: whether to replace existing files.

    Raises:
        ExportError: if a file already exists, pyarrow is not installed, or there is no game to export.
        LedgerError: if the ledger can't be read.
        OSError: if a file can't be written.
    """
    pa = _pyarrow()
    skipped: list[SkippedGame] = []
    by_season = defaultdict[int, list[CompletedGame]](list)
    with read_only_ledger(url) as backend, backend.read() as connection:
        for game in completed_games(connection, min_minutes=min_minutes, include_replays=include_replays):
            if isinstance(game, SkippedGame):
                skipped.append(game)
            elif not seasons or game.season in seasons:
                by_season[game.season].append(game)
    if not by_season:
        skipped_text = f", {len(skipped):,} skipped: {_first_skipped(skipped)}" if skipped else ""
        replay_hint = "" if include_replays else "; games of replays do not count by default"
        raise ExportError(f"the ledger has no game to export{skipped_text}{replay_hint}")
    paths = {season: folder / f"plays_{season}.parquet" for season in sorted(by_season)}
    if not overwrite and (existing := [path for path in paths.values() if path.exists()]):
        raise ExportError(f"{existing[0]} already exists; use --overwrite to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    written = [Season(season, path, *_write(pa, path, by_season[season])) for season, path in paths.items()]
    return Export(tuple(written), tuple(skipped))


def _first_skipped(skipped: list[SkippedGame]) -> str:
    more = ", …" if len(skipped) > 1 else ""
    return f"{skipped[0].game_id}: {skipped[0].reason}{more}"


def _write(pa: Any, path: Path, games: Iterable[CompletedGame]) -> tuple[int, int]:
    """Write the file of a season atomically; return its number of games and rows."""
    ordered = sorted(games, key=lambda game: (game.day, game.game_id))
    rows = [(game, score) for game in ordered for score in game.scores]
    columns = {
        "game_id": (pa.string(), [game.game_id for game, _ in rows]),
        "type": (pa.string(), [game.phase for game, _ in rows]),
        "home": (pa.string(), [game.home for game, _ in rows]),
        "away": (pa.string(), [game.away for game, _ in rows]),
        "elapsed_s": (pa.float64(), [score.elapsed for _, score in rows]),
        "home_score": (pa.int64(), [score.home for _, score in rows]),
        "away_score": (pa.int64(), [score.away for _, score in rows]),
        "game_date": (pa.date32(), [game.day for game, _ in rows]),
    }
    live = zip(*(_live_numbers(game, score) for game, score in rows), strict=True)
    columns |= {name: (pa.float32(), values) for name, values in zip(live_inputs.COLUMNS, live, strict=True)}
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    with atomic_replace(path) as new:
        pa.parquet.write_table(table, new, compression="zstd")
    return len(ordered), len(rows)


def _live_numbers(game: CompletedGame, score: Score) -> list[float | None]:
    """Return the live inputs of a row; None for unrecorded ones."""
    minute = int(score.elapsed) // 60
    live = game.live.get(minute, live_inputs.NO_LIVE_INPUTS)
    return [None if math.isnan(number) else number for number in live_inputs.numbers(live, minute)]


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional; the server runs without it
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ExportError(f"writing parquet needs pyarrow: {install('server,trainer')}") from None
    return pa
