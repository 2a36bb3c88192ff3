"""Damage done to a ledger behind the back of whoever has it open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def add_unreadable_entry(path: Path) -> None:
    """Appends an entry that has the kind of a forecast, and none in it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO entries SELECT max(sequence) + 1, 'forecast', '{}', zeroblob(32) FROM entries",
        )
