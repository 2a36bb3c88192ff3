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
_FEWEST_MINUTES: Final = 37
"""Smallest `min_minutes` that an export allows; it suffices where only results are needed."""


@contextmanager
def games_folder(source: str, *, results: bool = False, include_replays: bool = False) -> Iterator[Path]:
    """Yield the folder or file with the games of a source: the source itself, or a temporary export if it is a ledger.

    Args:
        source: a folder of plays_{season}.parquet, one such file, or a ledger: its path, or its URL.
        results: whether only the results of games are needed.
        include_replays: whether to export games of replays and simulated seasons too.

    Raises:
        DataError: if there is no such source, or a ledger that cannot be exported or has no such game.
    """
    url = _ledger_url(source)
    if url is None:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="dejavu-games-") as folder:
        options = ["--out", folder, *(["--include-replays"] if include_replays else [])]
        options += ["--min-minutes", str(_FEWEST_MINUTES)] if results else []
        command = (sys.executable, "-m", "dejavu_server", "ledger", "export", *options)
        # The URL may contain a password; other users can't see the environment.
        environment = {**os.environ, "DEJAVU_LEDGER": url}
        exported = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - our own program
        if exported.returncode:
            reason = (exported.stderr.strip().splitlines() or ["dejavu-server ended without a reason"])[-1]
            raise DataError(f"{source.rpartition('@')[2]}: cannot be exported: {reason}")
        yield Path(folder)


def _ledger_url(source: str) -> str | None:
    """Return the URL of a ledger, or None if a source is not a ledger."""
    if source.startswith(_SQLITE):
        return _SQLITE + str(Path(source.removeprefix(_SQLITE)).absolute())
    if source.startswith(_URLS):
        return source
    return _SQLITE + str(Path(source).absolute()) if _is_sqlite(Path(source)) else None


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER
    except IsADirectoryError:
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
