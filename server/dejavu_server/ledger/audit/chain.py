"""Holds every row of the ledger's tables against the entries, from which all of them follow.

The chain vouches for the canonical forms alone. Values are compared as the database has them, kind and all: SQLite
keeps a text, or bytes, where a number belongs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, exists, func, select, type_coerce
from sqlalchemy.types import NullType

from dejavu_models.errors import DejavuError
from dejavu_models.types import Horizon
from dejavu_server.ledger.database.schema import entries, forecasts, markets, outcomes, settlements
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.settlement import Bet, settle
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.records import IssuedForecast, ReportedOutcome

PAGE = 1000
"""How many entries are read at once: no read stays open for long, so that none keeps the log from being cleared."""

Raw = RowMapping
"""A row as the database has it; names as in `_ENTRIES`."""

_INDICES = {codec.FORECAST: forecasts, codec.OUTCOME: outcomes, codec.MARKET: markets}
"""The table over the entries of a kind."""


class ChainVerifier:
    """A walk over the entries of a ledger, in order.

    Attributes:
        sequence, hash: of the entry reached; of the last one pruned before the first.
        counts: entries so far, by kind.
        settled: settlements so far.
    """

    def __init__(self, connection: Connection, identity: Identity) -> None:
        self._connection = connection
        self._identity = identity
        self.sequence, self.hash = identity.pruned_through, identity.pruned_hash
        self.counts: dict[str, int] = {}
        self.settled = 0
        self._outcomes: dict[str, dict[Horizon, int]] = {}  # game → horizon → place of its first report

    def run(self) -> None:
        """Walks to the last entry.

        Raises:
            LedgerCorrupt: at the first entry that is not what was recorded, or a row of which is not what follows
                from it; says which and why.
        """
        for row in self._rows():
            self._check_entry(row)
            try:
                self._check_rows(row)
            except LedgerCorrupt:
                raise
            except (ValueError, TypeError, OverflowError, RecursionError, DejavuError) as error:
                raise LedgerCorrupt(f"entry {row['entry_sequence']}: {error}") from error
        self._check_orphans()

    def _rows(self) -> Iterator[Raw]:
        while page := self._connection.execute(_ENTRIES.where(entries.c.sequence > self.sequence)).mappings().all():
            yield from page

    def _check_entry(self, row: Raw) -> None:
        sequence, kind, text, hash_ = (row[f"entry_{name}"] for name in ("sequence", "kind", "canonical", "hash"))
        _check(
            isinstance(kind, str) and isinstance(text, str) and isinstance(hash_, bytes),
            f"entry {sequence}: it holds values of other types than were recorded",
        )
        following = codec.chain_hash(self.hash, text)
        _check(following == hash_, f"entry {sequence}: it, or the entry before it, is not the one recorded")
        # Neither the kind nor the place of a row is hashed: both stand in the canonical form.
        begins, ends = f'{{"kind":{codec.dumps(kind)},"payload":', f',"sequence":{sequence}}}'
        _check(
            text.startswith(begins) and text.endswith(ends),
            f"entry {sequence}: its kind or its place is not the one recorded",
        )
        self.sequence, self.hash = sequence, hash_
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def _check_rows(self, row: Raw) -> None:
        kind = row["entry_kind"]
        for other, table in _INDICES.items():
            if other != kind:
                _follows(row, table, None)
        if kind == codec.FORECAST:
            issued = codec.parse(row["entry_canonical"])
            _follows(row, forecasts, rows.forecast_row(issued, codec.prepare(issued)))
            self._check_foresight(row, issued.game_id, issued.forecast.elapsed_minutes)
            self._check_settlement(row, issued)
            return
        _follows(row, settlements, None)
        if kind == codec.OUTCOME:
            outcome = codec.parse_outcome(row["entry_canonical"])
            _follows(row, outcomes, rows.outcome_row(outcome, self._first_place(row, outcome)))
        elif kind == codec.MARKET:
            place, market, answer = codec.parse_market(row["entry_canonical"])
            _follows(row, markets, rows.market_row(row["entry_sequence"], place, Bet.from_market(market, answer)))
            if place > self._identity.pruned_through:
                _check(
                    row["asked_game_id"] is not None and place < row["entry_sequence"],
                    f"entry {row['entry_sequence']}: it is of a market, and there is no forecast before it at {place}",
                )
                self._check_foresight(row, row["asked_game_id"], row["asked_minute"])

    def _first_place(self, row: Raw, outcome: ReportedOutcome) -> int:
        """The place of the first report of an outcome's game and horizon."""
        of_game = self._outcomes.setdefault(outcome.game_id, {})
        if outcome.horizon not in of_game:
            removed = row["outcomes_first_sequence"]
            earlier = outcome.revision > 0 and isinstance(removed, int) and removed <= self._identity.pruned_through
            of_game[outcome.horizon] = removed if earlier else row["entry_sequence"]
        return of_game[outcome.horizon]

    def _check_foresight(self, row: Raw, game_id: str, minute: int) -> None:
        """Nothing is recorded of what lies before an outcome that is in the ledger (see `store.append`)."""
        for horizon, place in self._outcomes.get(game_id, {}).items():
            _check(
                minute > horizon.last_slot,
                f"entry {row['entry_sequence']}: it was recorded after the outcome at {place}, before which it lies",
            )

    def _check_settlement(self, row: Raw, issued: IssuedForecast) -> None:
        if row["newest_sequence"] is None:
            _follows(row, settlements, None)
            return
        # From the entries, not from their rows, which are held against them in their own turn.
        outcome = codec.parse_outcome(row["newest_canonical"])
        bet = None
        if row["bet_canonical"] is not None:
            bet = Bet.from_market(*codec.parse_market(row["bet_canonical"])[1:])
        expected = rows.settlement_row(
            issued,
            outcome,
            settle(issued, outcome, bet),
            first_sequence=row["newest_first_sequence"],
            superseded=bool(row["superseded"]),
            bet=bet,
        )
        _follows(row, settlements, expected)
        self.settled += 1

    def _check_orphans(self) -> None:
        for table in _INDICES.values():
            orphans = select(func.count()).where(table.c.sequence.not_in(select(entries.c.sequence)))
            _check(not self._connection.execute(orphans).scalar_one(), f"the index holds {table} without an entry")
        orphans = select(func.count()).where(settlements.c.forecast_sequence.not_in(select(forecasts.c.sequence)))
        _check(not self._connection.execute(orphans).scalar_one(), "there are settlements without a forecast")


def same(found: object, expected: object) -> bool:
    """Whether a value of the database is what was written; a truth value is written as 0 or 1."""
    if isinstance(expected, bool):
        expected = int(expected)
    return type(found) is type(expected) and found == expected


def raw(table: Table, prefix: str) -> list[Any]:
    """The columns of a table with their values as they lie there, unconverted; their names get a prefix."""
    return [raw_value(column, f"{prefix}_{column.name}") for column in table.columns]


def raw_value(column: ColumnElement[Any], name: str) -> Any:
    """A column with its values unconverted, under a name."""
    return type_coerce(column, NullType()).label(name)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LedgerCorrupt(otherwise)


def _follows(row: Raw, table: Table, expected: rows.Row | None) -> None:
    """Checks the row of a table for an entry; `expected` None: that there is none."""
    name, place = table.name, row["entry_sequence"]
    there = row[_KEYS[name]] is not None
    if expected is None:
        _check(not there, f"entry {place}: there is a row of {name} for it, and none follows from it")
        return
    _check(there, f"entry {place}: its row of {name} is missing")
    for column, label in _LABELS[name]:
        if not same(row[label], expected[column]):
            raise LedgerCorrupt(
                f"entry {place}: its row of {name} does not follow from it: {column} is not what was recorded"
            )


_KEYS = {
    table.name: f"{table.name}_{next(iter(table.primary_key)).name}" for table in (*_INDICES.values(), settlements)
}
"""Of each table, the key's name in a row."""

_LABELS = {
    table.name: [(column.name, f"{table.name}_{column.name}") for column in table.columns]
    for table in (*_INDICES.values(), settlements)
}
"""Of each table, its columns' names, there and in a row."""

_newest = outcomes.alias("newest")
_later = outcomes.alias("later")
_bet = markets.alias("bet")
_asked = forecasts.alias("asked")
_other = forecasts.alias("other")
_newest_entry = entries.alias("newest_entry")
_bet_entry = entries.alias("bet_entry")


def _entries() -> Select[Any]:
    """Entries with all rows that must follow from them, and what those of settlements follow from, at one moment."""
    newest_place = (
        select(_later.c.sequence)
        .where(_later.c.game_id == forecasts.c.game_id, _later.c.horizon == forecasts.c.horizon)
        .order_by(_later.c.revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    superseded = exists().where(_other.c.key == forecasts.c.key, _other.c.revision > forecasts.c.revision)
    return (
        select(
            *raw(entries, "entry"),
            *(column for table in (*_INDICES.values(), settlements) for column in raw(table, table.name)),
            raw_value(_newest.c.first_sequence, "newest_first_sequence"),
            raw_value(_newest_entry.c.sequence, "newest_sequence"),
            raw_value(_newest_entry.c.canonical, "newest_canonical"),
            raw_value(_bet_entry.c.canonical, "bet_canonical"),
            raw_value(_asked.c.game_id, "asked_game_id"),
            raw_value(_asked.c.minute, "asked_minute"),
            raw_value(superseded, "superseded"),
        )
        .select_from(entries)
        .outerjoin(forecasts, forecasts.c.sequence == entries.c.sequence)
        .outerjoin(outcomes, outcomes.c.sequence == entries.c.sequence)
        .outerjoin(markets, markets.c.sequence == entries.c.sequence)
        .outerjoin(settlements, settlements.c.forecast_sequence == entries.c.sequence)
        .outerjoin(_newest, _newest.c.sequence == newest_place)
        .outerjoin(_newest_entry, _newest_entry.c.sequence == _newest.c.sequence)
        .outerjoin(_bet, _bet.c.forecast_sequence == entries.c.sequence)
        .outerjoin(_bet_entry, _bet_entry.c.sequence == _bet.c.sequence)
        .outerjoin(_asked, _asked.c.sequence == markets.c.forecast_sequence)
        .order_by(entries.c.sequence)
        .limit(PAGE)
    )


_ENTRIES = _entries()
