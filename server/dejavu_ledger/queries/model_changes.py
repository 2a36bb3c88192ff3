"""Changes of models: the roster that follows from them, and the appending of the next one.

The roster is a fold over all changes in the order of the ledger, so all readers at the same position have the same
roster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.rows import change_row
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_models.errors import DejavuError
from dejavu_store.stages import ModelAction, ModelChange, Roster

_REPLACING: Final = frozenset({ModelAction.PROMOTE, ModelAction.ROLLBACK})
"""Changes that replace the champion, and name the replaced one."""


class KnownRoster:
    """Reads the current roster, and each change only once, so that a read does not grow with the changes."""

    def __init__(self) -> None:
        self._known = store.Identity("", ""), Roster()  # a ledger and its roster; replaced together, by any thread

    def read(self, connection: Connection) -> Roster:
        """Return the current roster.

        Raises:
            LedgerCorrupt: if a change cannot be read, or does not follow from those before it.
        """
        ledger = store.identity(connection)
        known, roster = self._known
        if known != ledger or newest_change(connection) < roster.sequence:  # the latter in an older snapshot
            roster = Roster()
        roster = fold(roster, read_changes(connection, roster.sequence))
        self._known = ledger, roster
        return roster


def fold(roster: Roster, changes: Iterable[ModelChange]) -> Roster:
    """Return a roster after recorded changes.

    Raises:
        LedgerCorrupt: if one of them is not one that `append_change` appends.
    """
    return reduce(check_next, changes, roster)


def newest_change(connection: Connection) -> int:
    """Return the sequence of the newest change of models; 0 if there is none."""
    return sql.value(connection, "SELECT max(sequence) FROM model_changes") or 0


def read_changes(connection: Connection, after: int = 0) -> list[ModelChange]:
    """Return the changes of models after a sequence, in order.

    Raises:
        LedgerCorrupt: if one cannot be read.
    """
    return _parsed(sql.rows(connection, _CHANGES_AFTER, after=after))


def newest_changes(
    connection: Connection, limit: int, before: int | None = None, model_version: str = ""
) -> list[ModelChange]:
    """Return the newest changes of models, newest first.

    Args:
        connection: a read connection.
        limit: maximum number of changes to return.
        before: only those before this sequence; None: all.
        model_version: only changes of this model, or that replaced it as the champion; empty: all.

    Raises:
        LedgerCorrupt: if one cannot be read.
    """
    before = store.head(connection).sequence + 1 if before is None else before
    query = _CHANGES_BEFORE.format(of_model=" AND :model IN (m.model_version, m.from_version)" if model_version else "")
    return _parsed(sql.rows(connection, query, before=before, model=model_version, limit=limit))


def _parsed(rows: Iterable[sql.Row]) -> list[ModelChange]:
    with store.decoding():
        return [codec.parse_change(text) for (text,) in rows]


def change_models(
    connection: Connection, prepare: Callable[[Connection, Roster], ModelChange], known: KnownRoster
) -> tuple[Roster, ModelChange | None]:
    """Append the change that `prepare` returns; see `Ledger.change_models`."""
    roster = known.read(connection)
    return append_change(connection, roster, replace(prepare(connection, roster), changed_time=datetime.now(UTC)))


def append_change(connection: Connection, roster: Roster, change: ModelChange) -> tuple[Roster, ModelChange | None]:
    """Append a change of models, unless the roster is already as it would leave it.

    Args:
        connection: a connection in a transaction that holds the write lock.
        roster: the current roster, as read in that transaction.
        change: the change, with its time and caller; its `from_version` and sequence are ignored.

    Returns:
        The roster after it, and the change as recorded; None if nothing was recorded.

    Raises:
        DejavuError: if it is not possible; see `Roster.check`.
    """
    if roster.changes_nothing(change):
        return roster, None
    roster.check(change)
    head = store.head(connection)
    from_version = roster.champion if change.action in _REPLACING else ""
    change = replace(change, from_version=from_version, sequence=head.sequence + 1)
    after = roster.after(change)
    entry = codec.Entry(codec.MODEL, 0, change.sequence, change.changed_by)
    sql.insert(connection, "entries", [store.entry_row(entry, codec.change_payload(change), head.hash)])
    sql.insert(connection, "model_changes", [change_row(change)])
    return after, change


def check_next(roster: Roster, change: ModelChange) -> Roster:
    """Return the roster after a recorded change, which must be one that `append_change` appends.

    Raises:
        LedgerCorrupt: if it is not.
    """
    at = f"entry {change.sequence}"
    if change.from_version != (roster.champion if change.action in _REPLACING else ""):
        raise LedgerCorrupt(f"{at}: it replaces another champion than the one that served, or replaces none")
    if roster.changes_nothing(change):
        raise LedgerCorrupt(f"{at}: it changes nothing of the models")
    try:
        return roster.after(change)
    except DejavuError as error:
        raise LedgerCorrupt(f"{at}: the change of models is not possible: {error}") from error


# Ordered by the small table, which is then read first: ordered by the entries, SQLite would walk through all of them.
_CHANGES_AFTER: Final = """
    SELECT e.canonical FROM model_changes m JOIN entries e ON e.sequence = m.sequence
    WHERE m.sequence > :after ORDER BY m.sequence
"""

_CHANGES_BEFORE: Final = """
    SELECT e.canonical FROM model_changes m JOIN entries e ON e.sequence = m.sequence
    WHERE m.sequence < :before{of_model} ORDER BY m.sequence DESC LIMIT :limit
"""
