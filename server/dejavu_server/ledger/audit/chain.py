"""Verifies the hash chain, and compares every table row with the one derived from the entries.

The chain protects only the canonical forms, so the rows are derived from them again. Values are compared as stored,
including their type: SQLite accepts text or bytes in a numeric column.
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
"""Entries per query. Short reads do not block checkpoints of the write-ahead log."""

Raw = RowMapping
"""A row with its values as stored; labels as in `_ENTRIES`."""

_INDICES = {codec.FORECAST: forecasts, codec.OUTCOME: outcomes, codec.MARKET: markets}
"""The table with one row for each entry of a kind."""


class ChainVerifier:
    """Verifies the entries of a ledger in order, with the rows derived from each.

    Attributes:
        sequence, hash: of the last entry verified; before the first, of the last pruned entry.
        counts: entries verified so far, by kind.
        settled: settlements verified so far.
    """

    def __init__(self, connection: Connection, identity: Identity) -> None:
        self._connection = connection
        self._identity = identity
        self.sequence, self.hash = identity.pruned_through, identity.pruned_hash
        self.counts: dict[str, int] = {}
        self.settled = 0
        self._outcomes: dict[str, dict[Horizon, int]] = {}  # game → horizon → sequence of its first report

    def run(self) -> None:
        """Verifies every entry.

        Raises:
            LedgerCorrupt: at the first entry that was altered, or that has a row which does not match it; the message
                names the entry and the reason.
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
            f"entry {sequence}: a value has the wrong type",
        )
        expected = codec.chain_hash(self.hash, text)
        _check(expected == hash_, f"entry {sequence}: hash mismatch: this entry or the one before it was altered")
        # The columns kind and sequence are not hashed; the canonical form contains both values.
        begins, ends = f'{{"kind":{codec.dumps(kind)},"payload":', f',"sequence":{sequence}}}'
        _check(
            text.startswith(begins) and text.endswith(ends),
            f"entry {sequence}: kind or sequence does not match the canonical form",
        )
        self.sequence, self.hash = sequence, hash_
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def _check_rows(self, row: Raw) -> None:
        kind = row["entry_kind"]
        for other, table in _INDICES.items():
            if other != kind:
                _check_row(row, table, None)
        if kind == codec.FORECAST:
            issued = codec.parse(row["entry_canonical"])
            _check_row(row, forecasts, rows.forecast_row(issued, codec.prepare(issued)))
            self._check_hindsight(row, issued.game_id, issued.forecast.elapsed_minutes)
            self._check_settlement(row, issued)
            return
        _check_row(row, settlements, None)
        if kind == codec.OUTCOME:
            outcome = codec.parse_outcome(row["entry_canonical"])
            _check_row(row, outcomes, rows.outcome_row(outcome, self._first_sequence(row, outcome)))
        elif kind == codec.MARKET:
            target, market, answer = codec.parse_market(row["entry_canonical"])
            _check_row(row, markets, rows.market_row(row["entry_sequence"], target, Bet.from_market(market, answer)))
            if target > self._identity.pruned_through:
                _check(
                    row["market_game_id"] is not None and target < row["entry_sequence"],
                    f"entry {row['entry_sequence']}: the market needs an earlier forecast at {target}",
                )
                self._check_hindsight(row, row["market_game_id"], row["market_minute"])

    def _first_sequence(self, row: Raw, outcome: ReportedOutcome) -> int:
        """Returns the sequence of the first report of an outcome's game and horizon."""
        of_game = self._outcomes.setdefault(outcome.game_id, {})
        if outcome.horizon not in of_game:
            stored = row["outcomes_first_sequence"]
            pruned = outcome.revision > 0 and isinstance(stored, int) and stored <= self._identity.pruned_through
            of_game[outcome.horizon] = stored if pruned else row["entry_sequence"]
        return of_game[outcome.horizon]

    def _check_hindsight(self, row: Raw, game_id: str, minute: int) -> None:
        """Checks that a forecast was not recorded after an outcome it precedes (see `store.append`)."""
        for horizon, sequence in self._outcomes.get(game_id, {}).items():
            _check(
                minute > horizon.last_slot,
                f"entry {row['entry_sequence']}: recorded after the outcome at {sequence}, with hindsight",
            )

    def _check_settlement(self, row: Raw, issued: IssuedForecast) -> None:
        if row["newest_sequence"] is None:
            _check_row(row, settlements, None)
            return
        # Read the entries, not their rows: those are verified separately.
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
        _check_row(row, settlements, expected)
        self.settled += 1

    def _check_orphans(self) -> None:
        for table in _INDICES.values():
            orphans = select(func.count()).where(table.c.sequence.not_in(select(entries.c.sequence)))
            _check(not self._connection.execute(orphans).scalar_one(), f"table {table} has rows without an entry")
        orphans = select(func.count()).where(settlements.c.forecast_sequence.not_in(select(forecasts.c.sequence)))
        _check(not self._connection.execute(orphans).scalar_one(), "table settlements has rows without a forecast")


def equals_stored(stored: object, expected: object) -> bool:
    """Returns whether a stored value is the one that was written; booleans are stored as 0 or 1."""
    if isinstance(expected, bool):
        expected = int(expected)
    return type(stored) is type(expected) and stored == expected


def raw(table: Table, prefix: str) -> list[Any]:
    """Returns the columns of a table without type conversion, labelled with a prefix."""
    return [raw_value(column, f"{prefix}_{column.name}") for column in table.columns]


def raw_value(column: ColumnElement[Any], name: str) -> Any:
    """Returns a column without type conversion, under a label."""
    return type_coerce(column, NullType()).label(name)


def _check(valid: bool, message: str) -> None:
    if not valid:
        raise LedgerCorrupt(message)


def _check_row(row: Raw, table: Table, expected: rows.Row | None) -> None:
    """Checks the row of a table for an entry; with `expected` None, checks that there is no row."""
    name, sequence = table.name, row["entry_sequence"]
    present = row[_KEYS[name]] is not None
    if expected is None:
        _check(not present, f"entry {sequence}: the row in {name} should not exist")
        return
    _check(present, f"entry {sequence}: the row in {name} is missing")
    for column, label in _LABELS[name]:
        if not equals_stored(row[label], expected[column]):
            raise LedgerCorrupt(
                f"entry {sequence}: the row in {name} does not match the entry: column {column} differs"
            )


_KEYS = {
    table.name: f"{table.name}_{next(iter(table.primary_key)).name}" for table in (*_INDICES.values(), settlements)
}
"""Label of each table's primary key in a row."""

_LABELS = {
    table.name: [(column.name, f"{table.name}_{column.name}") for column in table.columns]
    for table in (*_INDICES.values(), settlements)
}
"""Column names of each table, with their labels in a row."""

_newest = outcomes.alias("newest")
_later = outcomes.alias("later")
_bet = markets.alias("bet")
_market_forecast = forecasts.alias("asked")
_other = forecasts.alias("other")
_newest_entry = entries.alias("newest_entry")
_bet_entry = entries.alias("bet_entry")


def _entries() -> Select[Any]:
    """Selects entries with the rows derived from them and the inputs of their settlements, in one consistent read."""
    newest_sequence = (
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
            raw_value(_market_forecast.c.game_id, "market_game_id"),
            raw_value(_market_forecast.c.minute, "market_minute"),
            raw_value(superseded, "superseded"),
        )
        .select_from(entries)
        .outerjoin(forecasts, forecasts.c.sequence == entries.c.sequence)
        .outerjoin(outcomes, outcomes.c.sequence == entries.c.sequence)
        .outerjoin(markets, markets.c.sequence == entries.c.sequence)
        .outerjoin(settlements, settlements.c.forecast_sequence == entries.c.sequence)
        .outerjoin(_newest, _newest.c.sequence == newest_sequence)
        .outerjoin(_newest_entry, _newest_entry.c.sequence == _newest.c.sequence)
        .outerjoin(_bet, _bet.c.forecast_sequence == entries.c.sequence)
        .outerjoin(_bet_entry, _bet_entry.c.sequence == _bet.c.sequence)
        .outerjoin(_market_forecast, _market_forecast.c.sequence == markets.c.forecast_sequence)
        .order_by(entries.c.sequence)
        .limit(PAGE)
    )


_ENTRIES = _entries()
