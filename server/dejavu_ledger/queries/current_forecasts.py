"""Reads the newest forecasts of recent games page by page, as of a fixed sequence of the ledger.

Rows up to a sequence never change, and each page applies the same conditions to the rows after the previous page. So
the pages together equal one read, regardless of entries recorded between them: a forecast superseded meanwhile is still
returned, since its successor has a later sequence than all pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_ledger.records import IssuedForecast

MAX_SEQUENCES_SCANNED = 5000
"""Maximum number of sequences that a page scans, a few milliseconds of work; so a page may be short or empty."""


@dataclass(frozen=True, slots=True)
class CurrentFilter:
    """Selects the newest forecast in time of each game's owner and of each horizon, as of a sequence.

    Attributes:
        game_ids: the games; empty: all.
        since_us: only forecasts made at or after this time, in microseconds since 1970 (UTC).
        up_to: only forecasts up to this sequence.
    """

    game_ids: frozenset[str]
    since_us: int
    up_to: int


class CurrentPage(NamedTuple):
    """A page of forecasts.

    Attributes:
        forecasts: the forecasts, in order of sequence.
        through: the sequence after which the next page starts; `up_to` of the filter after the last page.
    """

    forecasts: Sequence[IssuedForecast]
    through: int


def start(connection: Connection, filter_: CurrentFilter) -> int:
    """Return the sequence after which the first page starts: right before the first recent forecast of any game."""
    first = sql.value(connection, _FIRST, since_us=filter_.since_us, up_to=filter_.up_to)
    return filter_.up_to if first is None else int(first) - 1


def page(connection: Connection, filter_: CurrentFilter, after: int, limit: int) -> CurrentPage:
    """Return the page after a sequence.

    Args:
        connection: a read connection.
        filter_: the filter, the same for all pages.
        after: result of `start`, or `through` of the previous page.
        limit: maximum number of forecasts on the page.

    Raises:
        LedgerCorrupt: if an entry cannot be read back.
    """
    last = min(filter_.up_to, after + MAX_SEQUENCES_SCANNED)
    query = _PAGE.format(of_games="AND COALESCE(f.game_id, NULL) IN :games" if filter_.game_ids else "")
    values = {"since_us": filter_.since_us, "up_to": filter_.up_to, "after": after, "last": last, "most": limit}
    rows = sql.rows(connection, query, **values, games=sorted(filter_.game_ids))
    with store.decoding():
        found = [replace(codec.parse(text), hash=hash_) for _, text, hash_ in rows]
    return CurrentPage(found, rows[-1][0] if len(rows) == limit else last)


# COALESCE keeps the database from an index. This reads the recent forecasts from the covering index; otherwise SQLite
# would search the table from its first row.
_FIRST: Final = """
    SELECT MIN(COALESCE(sequence, NULL)) FROM forecasts
    WHERE generated_us >= :since_us AND COALESCE(sequence, NULL) <= :up_to AND late = '' AND owned"""

# In the order of the table itself; the last condition is the most expensive one.
_PAGE: Final = """
    SELECT f.sequence, e.canonical, e.hash FROM forecasts f JOIN entries e ON e.sequence = f.sequence
    WHERE f.sequence > :after AND f.sequence <= :last AND f.late = '' AND f.owned
        AND COALESCE(f.generated_us, NULL) >= :since_us
        {of_games}
        AND NOT EXISTS (
            SELECT 1 FROM forecasts newer
            WHERE newer.game_id = f.game_id AND newer.horizon = f.horizon
                AND newer.sequence > f.sequence AND newer.sequence <= :up_to
                AND newer.late = '' AND newer.owned AND COALESCE(newer.generated_us, NULL) >= :since_us)
    ORDER BY f.sequence LIMIT :most"""
