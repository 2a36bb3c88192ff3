"""Games of several sources, each game once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.arrays import from_npz, to_npz
from dejavu_trainer.data.box_scores import box_scores_array, box_scores_of
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.data.ledger_export import export_ledger, ledger_url
from dejavu_trainer.data.moments import moments_from_array, moments_to_array
from dejavu_trainer.data.plays import season_of_file
from dejavu_trainer.retraining.work_folder import WorkFolder

_ALL_SEASONS: Final = range(1947, 2201)


@dataclass(frozen=True, slots=True)
class SourceGames:
    """Number of games of a source.

    Attributes:
        source: its path, or its URL without the password.
        games: number of its games.
        added: number of games that no earlier source had.
    """

    source: str
    games: int
    added: int


def gather(
    sources: Sequence[str],
    work: WorkFolder,
    *,
    seasons: Sequence[int] = (),
    include_replays: bool = False,
) -> tuple[Games, list[SourceGames]]:
    """Read the games of all sources. A game that several have is taken from the first of them.

    Games with the same date and teams are the same game, since sources may have different ids for it.

    Args:
        sources: folders of plays_{season}.parquet (also in seasons/), files of that name, or ledgers: a path or a URL.
        work: folder for the exports of ledgers.
        seasons: the seasons to read, by the year in which they end; all if empty.
        include_replays: whether to take games of replays from ledgers.

    Raises:
        DataError: if a source can't be read, has a game twice, or there is no game.
    """
    parts, read = list[Games](), list[SourceGames]()
    seen = set[tuple[str, str, str]]()
    for number, source in enumerate(sources):
        folder, url = Path(source), ledger_url(source)
        name = source.rpartition("@")[2]
        if url is not None:
            folder = work.temporary(f"export-{number}")
            export_ledger(url, folder, include_replays=include_replays, source=name)
        games = _games(folder, name, seasons)
        keys = list(zip(games.date.astype(str).tolist(), games.home.tolist(), games.away.tolist(), strict=True))
        new = np.array([key not in seen for key in keys], dtype=bool)
        seen.update(keys)
        parts.append(games.select(new))
        read.append(SourceGames(name, len(games), int(new.sum())))
    games = _sorted(Games.joined(parts))
    if not len(games):
        raise DataError(f"{', '.join(each.source for each in read)}: no games")
    return games, read


def _games(path: Path, name: str, seasons: Sequence[int]) -> Games:
    files = [path] if path.is_file() else [*path.glob("plays_*.parquet"), *path.glob("seasons/plays_*.parquet")]
    available = sorted({season_of_file(file) for file in files})
    if not available:
        raise DataError(f"{name}: contains no plays_{{season}}.parquet and is no ledger")
    folder = path.parent if path.is_file() else path
    return load_games(folder, [season for season in available if season in (seasons or _ALL_SEASONS)])


def _sorted(games: Games) -> Games:
    return games.select(np.lexsort((games.game_id, games.date)))


def games_to_bytes(games: Games) -> bytes:
    """Serialize games as .npz; equal games give equal bytes."""
    columns = {field.name: getattr(games, field.name) for field in fields(games)}
    return to_npz(
        **{**columns, "box_scores": box_scores_array(games.box_scores), "moments": moments_to_array(games.moments)}
    )


def games_from_bytes(content: bytes, source: object) -> Games:
    """Deserialize the output of `games_to_bytes`.

    Raises:
        DataError: if the content is invalid; the message names the source.
    """
    try:
        columns = from_npz(content)
        count = len(columns["game_id"])
        columns["box_scores"] = box_scores_of(columns["box_scores"], count)
        columns["moments"] = moments_from_array(columns["moments"], count)
        return Games(*(columns[field.name] for field in fields(Games)))
    except (ValueError, KeyError) as error:
        raise DataError(f"{source}: are not the games of a retrain: {error}") from error
