"""Reads the newest forecasts of recent games page by page, as of a fixed sequence of the ledger.

Rows up to a sequence never change, and each page applies the same conditions to the rows after the previous page. So
the pages together equal one read, regardless of entries recorded between them: a forecast superseded meanwhile is still
returned, since its successor has a later sequence than all pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, exists, func, select

from dejavu_ledger.database import store
from dejavu_ledger.database.schema import entries, forecasts
from dejavu_ledger.entries import codec
from dejavu_ledger.queries.filters import unindexed
from dejavu_ledger.records import IssuedForecast

MAX_SEQUENCES_SCANNED = 5000
"""Maximum number of sequences that a page scans, a few milliseconds of work; so a page may be short or empty."""


@dataclass(frozen=True, slots=True)
class CurrentFilter:
    """Selects the newest forecast in time of each game and horizon, as of a sequence.

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
    first = connection.execute(_FIRST, {"since_us": filter_.since_us, "up_to": filter_.up_to}).scalar()
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
    values: dict[str, Any] = {"since_us": filter_.since_us, "up_to": filter_.up_to}
    values |= {"after": after, "last": last, "limit": limit, "games": sorted(filter_.game_ids)}
    rows = connection.execute(_page(bool(filter_.game_ids)), values).all()
    with store.decoding():
        found = [codec.parse(text) for _, text in rows]
    return CurrentPage(found, rows[-1].sequence if len(rows) == limit else last)


# Reads the recent forecasts from the covering index; otherwise SQLite would search the table from its first row.
_FIRST = select(func.min(unindexed(forecasts.c.sequence))).where(
    forecasts.c.generated_us >= bindparam("since_us"),
    unindexed(forecasts.c.sequence) <= bindparam("up_to"),
    forecasts.c.late == "",
)

_newer = forecasts.alias("newer")
_superseded = exists().where(
    _newer.c.game_id == forecasts.c.game_id,
    _newer.c.horizon == forecasts.c.horizon,
    _newer.c.sequence > forecasts.c.sequence,
    _newer.c.sequence <= bindparam("up_to"),
    _newer.c.late == "",
    unindexed(_newer.c.generated_us) >= bindparam("since_us"),
)


@cache
def _page(by_game: bool) -> Select[int, str]:
    """Select a page in the order of the table itself; `_superseded` comes last, as the most expensive condition."""
    conditions = [
        forecasts.c.sequence > bindparam("after"),
        forecasts.c.sequence <= bindparam("last"),
        forecasts.c.late == "",
        unindexed(forecasts.c.generated_us) >= bindparam("since_us"),
    ]
    if by_game:
        conditions.append(unindexed(forecasts.c.game_id).in_(bindparam("games", expanding=True)))
    return (
        select(forecasts.c.sequence, entries.c.canonical)
        .join(entries, entries.c.sequence == forecasts.c.sequence)
        .where(*conditions, ~_superseded)
        .order_by(forecasts.c.sequence)
        .limit(bindparam("limit"))
    )
