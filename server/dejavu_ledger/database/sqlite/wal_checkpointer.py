"""Copies committed data from SQLite's write-ahead log into the database, outside of the commits.

SQLite itself does so in every commit that makes the log long enough: its caller then waits for two flushes of the disk,
as long as a dozen commits. Here a thread does it soon after a commit; a commit does it only if the log has become too
long nevertheless. Decision: docs/decisions/0043-write-path.md.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from dejavu_ledger.database.sqlite.engine import connect

PAUSE_SECONDS: Final = 0.25
"""Minimum time between a commit and the copy, and between two copies: pages that are written often are copied once."""

MOST_PAGES: Final = 8000
"""Number of pages in the log from which a commit copies them itself: 32 MiB. SQLite starts the log from its beginning
only if no commit comes during a copy.
"""


class WalCheckpointer:
    """Thread of a database that copies its log while there are commits.

    Args:
        path: the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._committed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Make the thread copy the log soon; call this after a commit."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wal-checkpointer", daemon=True)
            self._thread.start()
        self._committed.set()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()
        self._committed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._committed.wait()
            if self._closing.wait(PAUSE_SECONDS):
                break
            self._committed.clear()
            # A full or broken disk fails commits too, which report it.
            with suppress(sqlite3.Error), closing(connect(self._path, "mode=rw")) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
