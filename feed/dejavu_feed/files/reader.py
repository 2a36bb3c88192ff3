"""Reads games from files of any format, both for an import and for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dejavu_feed.files.checked_games import CheckedGames
from dejavu_feed.files.game_list import read_game_list
from dejavu_feed.files.other_projects import read_other_project
from dejavu_feed.files.own_format import read_own_format
from dejavu_feed.files.source_rows import Source


def read_games(
    paths: Sequence[Path], source: Source, season: int, game_list: Path | None = None, day: date | None = None
) -> CheckedGames:
    """Read the games of a season, or of one of its days, and validate them row by row.

    Args:
        paths: one file of this project's format; of other projects, files or folders of them.
        source: project whose files they are.
        season: year in which the season ends.
        game_list: file of the list of games with their NBA ids and dates; None if there is none.
        day: return only the games of this local date; None: all games.

    Returns:
        The games or the problems; and the games that were left out, with the reason.

    Raises:
        ValueError: if there are several files of this project's format, or a list for it.
        DataError: if a file can't be read or lacks a column, or no game is left.
        FeedNotInstalled: if a file is parquet, and pyarrow is missing.
    """
    if source is not Source.PLAYS:
        listed = None if game_list is None else read_game_list(game_list)
        return read_other_project(paths, source, season, listed, day)
    if len(paths) > 1 or game_list is not None:
        raise ValueError("this project's format takes one file and no list of games")
    return read_own_format(paths[0], season, day)
