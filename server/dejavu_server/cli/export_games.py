"""Writes games that the ledger has seen to their end as seasons that the trainer reads: plays_{season}.parquet.

docs/data.md describes the format. What can't be written down in it is left out, and told with the reason.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dejavu_models.errors import DejavuError
from dejavu_server.ledger.database.read_only import read_only_ledger
from dejavu_server.ledger.queries.completed_games import CompletedGame, SkippedGame, completed_games


class CannotExport(DejavuError):
    """Nothing was written: the message says why."""

    reason = "CANNOT_EXPORT"


@dataclass(frozen=True, slots=True)
class Season:
    """A season's file.

    Attributes:
        season: the year in which it ends.
        path: the file.
        games, rows: what it holds.
    """

    season: int
    path: Path
    games: int
    rows: int


@dataclass(frozen=True, slots=True)
class Export:
    """What an export wrote, by season, and what it left out."""

    seasons: tuple[Season, ...]
    left_out: tuple[SkippedGame, ...]


def export_games(
    url: str,
    folder: Path,
    *,
    seasons: Collection[int] = (),
    least_minutes: int,
    include_replays: bool = False,
    overwrite: bool = False,
) -> Export:
    """Writes the ledger's games into a folder, which is made if need be: a file for each season.

    Args:
        url: which ledger.
        folder: where the files go.
        seasons: years in which the seasons end that are wanted; none: all.
        least_minutes: of how many minutes the differential must be known.
        include_replays: whether games of replays and simulated seasons count too.
        overwrite: whether to replace files that are there.

    Raises:
        CannotExport: if a file is there already, pyarrow is not installed, or there is no game to write.
        LedgerError: if the ledger can't be read.
        OSError: if a file can't be written.
    """
    pa = _pyarrow()
    games, left_out = _read(url, least_minutes=least_minutes, include_replays=include_replays)
    by_season = defaultdict[int, list[CompletedGame]](list)
    for game in games:
        if not seasons or game.season in seasons:
            by_season[game.season].append(game)
    if not by_season:
        told = f", {len(left_out):,} left out: {_first(left_out)}" if left_out else ""
        replays = "" if include_replays else "; replays are left out unless --include-replays is given"
        raise CannotExport(f"the ledger has no game to write{told}{replays}")
    paths = {season: folder / f"plays_{season}.parquet" for season in sorted(by_season)}
    if not overwrite and (there := [path for path in paths.values() if path.exists()]):
        raise CannotExport(f"{there[0]} is there already; --overwrite replaces it")
    folder.mkdir(parents=True, exist_ok=True)
    written = [Season(season, path, *_write(pa, path, by_season[season])) for season, path in paths.items()]
    return Export(tuple(written), tuple(left_out))


def _first(left_out: list[SkippedGame]) -> str:
    more = ", …" if len(left_out) > 1 else ""
    return f"{left_out[0].game_id}: {left_out[0].reason}{more}"


def _read(url: str, *, least_minutes: int, include_replays: bool) -> tuple[list[CompletedGame], list[SkippedGame]]:
    with read_only_ledger(url) as connection:
        found = list(completed_games(connection, least_minutes=least_minutes, include_replays=include_replays))
    games = [each for each in found if isinstance(each, CompletedGame)]
    return games, [each for each in found if isinstance(each, SkippedGame)]


def _write(pa: Any, path: Path, games: Iterable[CompletedGame]) -> tuple[int, int]:
    """Writes a season, whole or not at all; returns how many games and rows it holds."""
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
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    beside = Path(name)
    try:
        pa.parquet.write_table(table, beside, compression="zstd")
        beside.chmod(0o644)  # mkstemp makes files that only their owner may read
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return len(ordered), len(rows)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - the server does without
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise CannotExport("writing parquet needs pyarrow: pip install 'dejavu-forecast[server,trainer]'") from None
    return pa
