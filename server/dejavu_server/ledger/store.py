"""What is read from and written to the ledger's tables, on a connection that the caller gives.

Writing needs a transaction that holds the write lock from its start (see `engine.writing`): the place of a new entry,
and whether a forecast is a new one, are decided by what is read in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, func, insert, select, update

from dejavu_server.ledger import canonical
from dejavu_server.ledger.canonical import Draft
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.schema import entries, forecasts, ledger
from dejavu_server.records import IssuedForecast

_T = TypeVar("_T")

_KEYS_AT_ONCE = 500  # SQLite takes 32,766 parameters a statement, PostgreSQL's driver as many


@dataclass(frozen=True, slots=True)
class Identity:
    """Which ledger this is, and from where on it is kept.

    Attributes:
        pruned_through: entries up to this place were removed; 0: none were.
        pruned_hash: the hash that the first entry kept is chained to.
    """

    ledger_id: str
    epoch: str
    pruned_through: int
    pruned_hash: bytes

    def same(self, other: Identity) -> bool:
        """Whether places in one are places in the other."""
        return (self.ledger_id, self.epoch) == (other.ledger_id, other.epoch)


class Link(NamedTuple):
    """The newest entry's place in the chain."""

    sequence: int
    hash: bytes


class _Newest(NamedTuple):
    """The newest revision of a key."""

    revision: int
    pattern: str
    issued: IssuedForecast

    def answers(self, draft: Draft) -> bool:
        """Whether it is what a draft of its key would record."""
        mine, its = self.issued, draft.issued
        return self.pattern == draft.pattern and (mine.home_team, mine.away_team) == (its.home_team, its.away_team)


def identity(connection: Connection) -> Identity:
    """Which ledger this is."""
    row = connection.execute(_IDENTITY).one_or_none()
    if row is None:
        raise LedgerCorrupt("the ledger is damaged: it has lost its identity")
    return Identity(*row)


def head(connection: Connection) -> Link:
    """Sequence and hash of the newest entry; of the last one pruned, or 0, where there is none."""
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        kept = identity(connection)
        return Link(kept.pruned_through, kept.pruned_hash)
    return Link(*row)


def append(connection: Connection, drafts: Sequence[Draft]) -> list[IssuedForecast]:
    """Records forecasts in their order, each unless the newest revision of its key has the same pattern and teams.

    Returns:
        For each draft what stands in the ledger for it: itself with its place and revision, or what stood there.
    """
    newest = _newest(connection, {draft.key for draft in drafts})
    sequence, previous = head(connection)
    answers: list[IssuedForecast] = []
    entry_rows: list[dict[str, object]] = []
    forecast_rows: list[dict[str, object]] = []
    for draft in drafts:
        stored = newest.get(draft.key)
        if stored is None or not stored.answers(draft):
            sequence += 1
            revision = 0 if stored is None else stored.revision + 1
            text = canonical.compose(canonical.FORECAST, draft.payload, revision, sequence)
            previous = canonical.chain(previous, text)
            entry_rows.append(
                {"sequence": sequence, "kind": canonical.FORECAST, "canonical": text, "hash": previous},
            )
            issued = replace(draft.issued, sequence=sequence, revision=revision)
            forecast_rows.append(index_row(issued, draft))
            stored = newest[draft.key] = _Newest(revision, draft.pattern, issued)
        answers.append(stored.issued)
    if entry_rows:
        connection.execute(_ADD_ENTRIES, entry_rows)
        connection.execute(_ADD_FORECASTS, forecast_rows)
    return answers


def touch(connection: Connection) -> None:
    """Writes a row as it is: what is committed then shows whether anything can be recorded, and changes nothing."""
    connection.execute(_TOUCH)


def check_structure(connection: Connection) -> None:
    """Reads the whole file.

    Raises:
        LedgerCorrupt: if it is not built as SQLite builds one.
    """
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
        raise LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")


def index_row(issued: IssuedForecast, draft: Draft) -> dict[str, object]:
    """The row of `forecasts` for a recorded forecast."""
    return {
        "sequence": issued.sequence,
        "key": draft.key,
        "revision": issued.revision,
        "pattern": draft.pattern,
        "game_id": issued.game_id,
        "horizon": issued.forecast.horizon.value,
        "generated_us": canonical.microseconds(issued.generated_time),
    }


def read_after(connection: Connection, sequence: int, limit: int) -> list[IssuedForecast]:
    """The first `limit` forecasts after a place, in order."""
    return _parse(connection.execute(_AFTER, {"after": sequence, "limit": limit}).scalars())


def current(connection: Connection, game_ids: frozenset[str], since_us: int, up_to: int) -> list[IssuedForecast]:
    """The newest forecast of each game and horizon, in order; of all games where none is named.

    Only forecasts made at `since_us` (microseconds since 1970) or later count, and only those up to the place `up_to`.
    """
    newest = connection.execute(_NEWEST_OF_EACH, {"since_us": since_us, "up_to": up_to}).all()
    places = [row.sequence for row in newest if not game_ids or row.game_id in game_ids]
    return _parse(
        text for chunk in _chunks(sorted(places)) for text in connection.execute(_AT, {"sequences": chunk}).scalars()
    )


# Made once: building a statement costs SQLAlchemy as much as running it.
_IDENTITY = select(ledger.c.ledger_id, ledger.c.epoch, ledger.c.pruned_through, ledger.c.pruned_hash)

_TOUCH = update(ledger).values(epoch=ledger.c.epoch)

_HEAD = select(entries.c.sequence, entries.c.hash).order_by(entries.c.sequence.desc()).limit(1)

_ADD_ENTRIES = insert(entries)

_ADD_FORECASTS = insert(forecasts)

_AFTER = (
    select(entries.c.canonical)
    .where(entries.c.sequence > bindparam("after"), entries.c.kind == canonical.FORECAST)
    .order_by(entries.c.sequence)
    .limit(bindparam("limit"))
)

_AT = (
    select(entries.c.canonical)
    .where(entries.c.sequence.in_(bindparam("sequences", expanding=True)))
    .order_by(entries.c.sequence)
)

_NEWEST_OF_EACH = (
    select(forecasts.c.game_id, func.max(forecasts.c.sequence).label("sequence"))
    .where(forecasts.c.generated_us >= bindparam("since_us"), forecasts.c.sequence <= bindparam("up_to"))
    .group_by(forecasts.c.game_id, forecasts.c.horizon)
)

_other = forecasts.alias("other")
_NEWEST_OF_KEYS = (
    select(forecasts.c.key, forecasts.c.revision, forecasts.c.pattern, entries.c.canonical)
    .join(entries, entries.c.sequence == forecasts.c.sequence)
    .where(
        forecasts.c.key.in_(bindparam("keys", expanding=True)),
        forecasts.c.revision
        == select(func.max(_other.c.revision)).where(_other.c.key == forecasts.c.key).scalar_subquery(),
    )
)


def _newest(connection: Connection, keys: set[str]) -> dict[str, _Newest]:
    found: dict[str, _Newest] = {}
    for chunk in _chunks(sorted(keys)):
        for key, revision, pattern, text in connection.execute(_NEWEST_OF_KEYS, {"keys": chunk}):
            found[key] = _Newest(revision, pattern, *_parse([text]))
    return found


def _parse(texts: Iterable[str]) -> list[IssuedForecast]:
    try:
        return [canonical.parse(text) for text in texts]
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an entry cannot be read back") from error


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _KEYS_AT_ONCE):
        yield values[start : start + _KEYS_AT_ONCE]
