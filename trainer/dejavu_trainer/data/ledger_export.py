"""Games of a ledger, exported by the server's own command in another process.

The server's command decides which games count, and which revision of an outcome.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError

_SQLITE: Final = "sqlite:///"
_URLS: Final = (_SQLITE, "postgresql://", "postgresql+psycopg://")
_SQLITE_HEADER: Final = b"SQLite format 3\0"
_NO_REPLAYS_HINT: Final = "; replays are skipped without --include-replays"

FEWEST_MINUTES: Final = 37
"""Smallest `min_minutes` that an export allows; it suffices where only results are needed."""


def ledger_url(source: str) -> str | None:
    """Return the URL of a ledger, or None if a source is not a ledger.

    Args:
        source: a URL of a ledger, or a path.

    Raises:
        DataError: if it is a path that cannot be read.
    """
    if source.startswith(_SQLITE):
        return _SQLITE + str(Path(source.removeprefix(_SQLITE)).absolute())
    if source.startswith(_URLS):
        return source
    return _SQLITE + str(Path(source).absolute()) if _is_sqlite(Path(source)) else None


def export_ledger(
    url: str, folder: Path, *, min_minutes: int | None = None, include_replays: bool = False, source: str = ""
) -> None:
    """Write the completed games of a ledger to plays_{season}.parquet in a folder.

    Args:
        url: URL of the ledger. Since it may contain a password, it is passed on in the environment, which other users
            can't see.
        folder: the folder.
        min_minutes: minimum number of minutes that must be known of a game; the export's own default if not given.
        include_replays: whether to export games of replays and simulated seasons too.
        source: name of the ledger in errors; by default, the part of the URL after the password.

    Raises:
        DataError: if the ledger cannot be exported, or has no such game.
    """
    options = ["--out", str(folder)]
    if min_minutes is not None:
        options += ["--min-minutes", str(min_minutes)]
    if include_replays:
        options.append("--include-replays")
    command = (sys.executable, "-m", "dejavu_server", "ledger", "export", *options)
    environment = {**os.environ, "DEJAVU_LEDGER": url}
    exported = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - our own program
    if exported.returncode:
        reason = (exported.stderr.strip().splitlines() or ["dejavu-server ended without a reason"])[-1]
        raise DataError(f"{source or url.rpartition('@')[2]}: cannot be exported: {reason}")


@contextmanager
def games_folder(source: str, *, results: bool = False, include_replays: bool = False) -> Iterator[Path]:
    """Yield the folder or file with the games of a source: the source itself, or a temporary export if it is a ledger.

    Args:
        source: a folder of plays_{season}.parquet, one such file, or a ledger: its path, or its URL.
        results: whether only the results of games are needed.
        include_replays: see `export_ledger`.

    Raises:
        DataError: if there is no such source, or the ledger cannot be exported.
    """
    url = ledger_url(source)
    if url is None:
        yield Path(source)
        return
    minutes = FEWEST_MINUTES if results else None
    with tempfile.TemporaryDirectory(prefix="dejavu-games-") as folder:
        try:
            export_ledger(url, Path(folder), min_minutes=minutes, include_replays=include_replays)
        except DataError as error:
            if not results:
                raise
            # `refresh` does not have the option that the hint names; `retrain` does.
            raise DataError(str(error).replace(_NO_REPLAYS_HINT, "; games of replays do not count")) from error
        yield Path(folder)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER
    except IsADirectoryError:
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
