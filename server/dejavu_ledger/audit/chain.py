"""Verifies the hash chain, and compares every table row with the one derived from the entries.

The chain protects only the canonical forms, so the rows are derived from them again. Values are compared as stored,
including their type: SQLite accepts text or bytes in a numeric column.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from dejavu_feed.moment import moment_fault
from dejavu_ledger.audit import market_answers
from dejavu_ledger.audit.checkpoints import SignedTimes
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.database.store import Identity
from dejavu_ledger.entries import canonical_json, codec, rows
from dejavu_ledger.entries.rows import ForecastRow
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.queries import model_changes
from dejavu_ledger.recording import read_revisions
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.rules import GameRecord, OutcomeRevisions, Revisions, key_of, market_is_late
from dejavu_models.errors import DejavuError
from dejavu_models.types import Horizon
from dejavu_store.stages import Roster

RAW_PAGE: Final = 1000
"""Rows per query. Short reads do not block checkpoints of the write-ahead log."""

Raw: TypeAlias = Mapping[str, Any]
"""A row with its values as stored; a label is the name of the table and of the column, as in `forecasts_minute`."""

DERIVED: Final = ("forecasts", "outcomes", "markets", "shadows", "model_changes")
"""Names of the tables whose rows follow from the entries."""

KEYS: Final = {table: f"{table}_sequence" for table in DERIVED}
"""Label of each table's primary key in a row."""

LABELS: Final = {
    table: [(name, f"{table}_{name}") for name in TABLES[table] if name != "hindsight"] for table in DERIVED
}
"""Names of the columns that follow from each row's entry and those before it, with their labels in a row."""


def _entries_after(connection: Connection, sequence: int) -> Sequence[Raw]:
    """Return the first PAGE entries after a sequence, with all rows that follow from each; labels begin with entry_.

    The row of a market has the entry of its forecast (`market_forecast_canonical`) and whether that is of the owner
    (`market_forecast_owned`); that of a shadow has the row of its forecast, with labels that begin with beside_.
    """
    return _labelled(connection, _ENTRY_COLUMNS, _ENTRIES, after=sequence)


def _columns(table: str, prefix: str) -> dict[str, str]:
    """Return the columns of a table by their labels, which begin with a prefix."""
    return {f"{prefix}_{name}": f"{table}.{name}" for name in TABLES[table]}


def _labelled(connection: Connection, columns: Mapping[str, str], text: str, **values: Any) -> Sequence[Raw]:
    """Return the rows of a query for some columns, by their labels."""
    found = sql.rows(connection, f"SELECT {', '.join(columns.values())} {text}", **values)
    return [dict(zip(columns, row, strict=True)) for row in found]


_ENTRY_COLUMNS: Final = {
    **_columns("entries", "entry"),
    **{label: column for table in DERIVED for label, column in _columns(table, table).items()},
    "market_forecast_canonical": "market_entry.canonical",
    "market_forecast_owned": "asked.owned",
    **{f"beside_{name}": f"beside.{name}" for name in ForecastRow._fields},
}

# With the rows derived from each, in one consistent read.
_ENTRIES: Final = f"""
    FROM entries
    LEFT JOIN forecasts ON forecasts.sequence = entries.sequence
    LEFT JOIN outcomes ON outcomes.sequence = entries.sequence
    LEFT JOIN markets ON markets.sequence = entries.sequence
    LEFT JOIN shadows ON shadows.sequence = entries.sequence
    LEFT JOIN model_changes ON model_changes.sequence = entries.sequence
    LEFT JOIN forecasts asked ON asked.sequence = markets.forecast_sequence
    LEFT JOIN entries market_entry ON market_entry.sequence = asked.sequence
    LEFT JOIN forecasts beside ON beside.sequence = shadows.forecast_sequence
    WHERE entries.sequence > :after ORDER BY entries.sequence LIMIT {RAW_PAGE}
"""

_ORPHANS: Final = "SELECT count(*) FROM TABLE WHERE sequence NOT IN (SELECT sequence FROM entries)"


"""Entries per query. Short reads do not block checkpoints of the write-ahead log."""

_CHAIN: Final = """
    SELECT sequence, canonical, hash FROM entries WHERE sequence > :after AND sequence <= :through
    ORDER BY sequence LIMIT :most
"""


def chain_entries(connection: Connection, through: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield sequence, canonical form and hash of every entry up to a sequence, in order.

    Raises:
        LedgerCorrupt: if a value does not have the type that was written; SQLite allows others.
    """
    last = 0
    while page := sql.rows(connection, _CHAIN, after=last, through=through, most=RAW_PAGE):
        for sequence, canonical, hash_ in page:
            if not (isinstance(canonical, str) and isinstance(hash_, bytes)):
                raise LedgerCorrupt(f"entry {sequence}: a value has the wrong type")
            yield sequence, canonical, hash_
        last = page[-1][0]


_FORECASTS, _OUTCOMES, _MARKETS, _SHADOWS, _CHANGES = DERIVED
_TABLES = {
    codec.FORECAST: _FORECASTS,
    codec.OUTCOME: _OUTCOMES,
    codec.MARKET: _MARKETS,
    codec.SHADOW: _SHADOWS,
    codec.MODEL: _CHANGES,
}
"""The table with one row for each entry of a kind."""

_OF_WRONG_VALUES = (ValueError, TypeError, AttributeError, OverflowError, RecursionError, struct.error)
"""Exceptions raised for entries with values that no server writes, such as a number instead of a string."""


class ChainVerifier:
    """Verifies the entries of a ledger in order, with the rows derived from each.

    Args:
        connection: a read connection.
        identity: identity of the ledger.
        times: the times between which entries can have been recorded.

    Attributes:
        sequence, hash: of the last entry verified; before the first, the start of the chain.
        counts: entries verified so far, by kind.
        games: states of the games after them.
    """

    def __init__(self, connection: Connection, identity: Identity, times: SignedTimes) -> None:
        self._connection = connection
        self._times = times
        self.sequence, self.hash = store.start_of_chain(identity.ledger_id)
        self.counts = Counter[str]()
        self.games = _Games()
        self._outcomes: dict[tuple[str, Horizon], OutcomeRevisions] = {}
        self._priced = 0  # the newest forecast that was recorded together with a market
        self._roster = Roster()

    def run(self) -> None:
        """Verify every entry with its rows, and then that no row is without an entry.

        Raises:
            LedgerCorrupt: at the first entry that was altered or has a row that does not match it, named with the
                reason; or for a table that has rows without an entry.
        """
        for row in self._rows():
            self._check_entry(row)
            try:
                self._check_rows(row)
            except LedgerCorrupt:
                raise
            except (*_OF_WRONG_VALUES, DejavuError) as error:
                raise LedgerCorrupt(f"entry {row['entry_sequence']}: {error}") from error
        for table in DERIVED:
            if sql.value(self._connection, _ORPHANS.replace("TABLE", table)):
                raise LedgerCorrupt(f"table {table} has rows without an entry")

    def _rows(self) -> Iterator[Raw]:
        while page := _entries_after(self._connection, self.sequence):
            yield from page

    def _check_entry(self, row: Raw) -> None:
        sequence, kind, text, hash_ = (row[f"entry_{name}"] for name in ("sequence", "kind", "canonical", "hash"))
        _check(
            isinstance(kind, str) and isinstance(text, str) and isinstance(hash_, bytes),
            f"entry {sequence}: a value has the wrong type",
        )
        expected = codec.chain_hash(self.hash, text)
        _check(expected == hash_, f"entry {sequence}: hash mismatch: this entry or the one before it was altered")
        _check(kind in _TABLES, f"entry {sequence}: its kind is unknown: {kind!r}")
        _check(sequence == self.sequence + 1, f"entry {sequence}: it follows entry {self.sequence}; expected no gaps")
        # The columns kind and sequence are not hashed; the canonical form contains both values.
        begins, ends = f'{{"kind":{canonical_json.dumps(kind)},', f',"sequence":{sequence}}}'
        _check(
            text.startswith(begins) and text.endswith(ends),
            f"entry {sequence}: kind or sequence does not match the canonical form",
        )
        # Otherwise duplicate keys could be read in two ways: some parsers take the first, others the last.
        _check(_canonical(text) == text, f"entry {sequence}: its text is not in canonical form")
        self.sequence, self.hash = sequence, hash_
        self.counts[kind] += 1

    def _check_rows(self, row: Raw) -> None:
        kind = row["entry_kind"]
        for other, table in _TABLES.items():
            if other != kind:
                _check_row(row, table, None)
        if kind == codec.FORECAST:
            self._check_forecast(row)
        elif kind == codec.OUTCOME:
            outcome = codec.parse_outcome(row["entry_canonical"])
            key, game = (outcome.game_id, outcome.horizon), self.games[outcome.game_id]
            revisions = self._outcomes[key] = self._outcomes.get(key, OutcomeRevisions()).after(outcome)
            derived = rows.outcome_row(outcome, revisions.first_sequence, has_forecasts=game.is_forecast)
            _check_row(row, _OUTCOMES, derived)
            self._times.check(outcome.sequence, outcome.recorded_time)
            game.add_outcome(outcome.horizon, outcome.sequence, outcome.observed_time, withdrawn=outcome.withdrawn)
        elif kind == codec.MARKET:
            self._check_market(row)
        elif kind == codec.SHADOW:
            self._check_shadow(row)
        elif kind == codec.MODEL:
            change = codec.parse_change(row["entry_canonical"])
            _check_row(row, _CHANGES, rows.change_row(change))
            self._times.check(change.sequence, change.changed_time)
            self._roster = model_changes.check_next(self._roster, change)

    def _check_forecast(self, row: Raw) -> None:
        """Check a forecast: what it is, whose it is, that it is a revision of its key, and late if it is marked so."""
        issued = codec.parse(row["entry_canonical"])
        entry, caller = f"entry {issued.sequence}", issued.recorded_by
        self._check_minute(issued)
        self._times.check(issued.sequence, issued.generated_time)
        game = self.games[issued.game_id]
        game.check_lease(caller, issued.lease)
        owned = game.owns(caller, issued.lease)
        key = key_of(issued, owned=owned)
        _check_row(row, _FORECASTS, rows.forecast_row(issued, key, codec.prepare(issued).pattern, owned=owned))
        self._check_revision(issued, key)
        self._check_outcome(row, game, issued.forecast.elapsed_minutes)
        _check(owned or issued.clock is None, f"{entry}: it states a published clock, but is not of the game's owner")
        reason = game.late(issued, owned=owned, clock=issued.clock)
        if issued.late is None:
            _check(reason is None, f"{entry}: not marked as late, although it is: {reason and reason.value}")
        else:
            _check(reason is issued.late, f"{entry}: marked as late, but nothing before it makes it late")
        game.add_forecast(caller, issued.lease, issued.forecast.elapsed_seconds, issued.generated_time)
        fault = _fault_of_choice(issued, self._roster)
        _check(fault is None, f"{entry}: {fault}")

    def _check_revision(self, issued: IssuedForecast, key: str) -> None:
        """Check that a forecast follows the revisions of its key, and changes something."""
        if not issued.revision:  # the database has no two with this number
            return
        before = read_revisions(self._connection, [key], issued.sequence).get(key, Revisions())
        entry = f"entry {issued.sequence}:"
        _check(
            issued.revision == before.next_number,
            f"{entry} revision {issued.revision} of a forecast does not follow: revisions count from 0",
        )
        repeats = issued.lease == "" and before.find(issued) is not None
        _check(not repeats, f"{entry} it changes nothing: it has the input of an earlier revision")

    def _check_minute(self, issued: IssuedForecast) -> None:
        """Check that a forecast has the minute of its pattern, and that this is before its horizon.

        Otherwise a forecast of the half could state minute 30 and be recorded after the outcome of the half, which
        excludes only minutes before the half.
        """
        minute, pattern, horizon = issued.forecast.elapsed_minutes, issued.pattern.minutes, issued.forecast.horizon
        _check(
            minute == pattern <= horizon.last_slot,
            f"entry {issued.sequence}: a forecast of {horizon.value} as of minute {minute}, with a pattern of "
            f"{pattern} minutes: possibly recorded with hindsight",
        )
        moment = issued.forecast.moment
        fault = None if moment is None else moment_fault(moment, issued.pattern.differentials, horizon)
        if fault is not None:
            raise LedgerCorrupt(f"entry {issued.sequence}: {fault.field} is {fault.found}; expected {fault.expected}")

    def _check_market(self, row: Raw) -> None:
        sequence = row["entry_sequence"]
        market = codec.parse_market(row["entry_canonical"])
        target, learned, sent = market.forecast_sequence, market.calibration_sequence, market.requested_time
        _check_row(row, _MARKETS, rows.market_row(market))
        _check(
            row["market_forecast_canonical"] is not None and target < sequence,
            f"entry {sequence}: the market needs an earlier forecast at {target}",
        )
        forecast = codec.parse(row["market_forecast_canonical"])
        game = self.games[forecast.game_id]
        self._check_outcome(row, game, forecast.forecast.elapsed_minutes)
        made = forecast.generated_time if sent is None else sent
        self._times.check(sequence, made)
        known = forecast.forecast.calibration_sequence
        _check(
            learned is None or (known < learned < sequence and self._is_outcome(learned)),
            f"entry {sequence}: the market's answer does not match the forecast at {target}: calibration_sequence is "
            f"{learned!r}; expected an outcome after {known}, which is that of the forecast, and before the market",
        )
        fault = market_answers.fault_of(forecast, market.market, market.answer, learned_since=learned is not None)
        _check(fault is None, f"entry {sequence}: the market's answer does not match the forecast at {target}: {fault}")
        _check(
            sent is not None or sequence == target + 1 or (sequence == target + 2 and self._priced == target),
            f"entry {sequence}: recorded with hindsight: it claims that the market was sent with the forecast at "
            f"{target}, but does not directly follow it",
        )
        self._priced = target if sent is None else self._priced
        _check(
            not market_is_late(game, forecast, made, owned=bool(row["market_forecast_owned"])),
            f"entry {sequence}: recorded with hindsight: the market came {made - forecast.generated_time} after the "
            f"forecast at {target}, which was made too long ago, or late, by then",
        )

    def _check_shadow(self, row: Raw) -> None:
        sequence = row["entry_sequence"]
        target = codec.forecast_sequence(row["entry_canonical"])
        _check(row[KEYS[_SHADOWS]] is not None, f"entry {sequence}: the row in {_SHADOWS} is missing")
        _check(
            equals_stored(row["shadows_forecast_sequence"], target),
            f"entry {sequence}: the row in {_SHADOWS} does not match the entry: column forecast_sequence differs",
        )
        # The row of the shadowed forecast, which was already compared with its entry.
        beside = ForecastRow(*(row[f"beside_{name}"] for name in ForecastRow._fields))
        _check(
            beside.sequence == target < sequence, f"entry {sequence}: the shadow needs an earlier forecast at {target}"
        )
        shadow = codec.parse_shadow(row["entry_canonical"], Horizon(beside.horizon), beside.alpha)
        _check_row(row, _SHADOWS, rows.shadow_row(shadow, beside))
        # It may have waited for its turn while a checkpoint was signed.
        self._times.check(sequence, shadow.generated_time, may_be_older=True)
        _check(
            shadow.forecast.elapsed_minutes == beside.minute,
            f"entry {sequence}: the shadow is of another minute than the forecast at {target}",
        )
        _check(
            shadow.forecast.model_version != beside.model_version,
            f"entry {sequence}: the shadow is of the model that made the forecast at {target}",
        )
        game = self.games[beside.game_id]
        self._check_outcome(row, game, beside.minute)
        _check(
            not game.was_withdrawn(beside.minute),
            f"entry {sequence}: recorded after an outcome of its game that was withdrawn, with hindsight",
        )

    def _is_outcome(self, sequence: int) -> bool:
        """Return whether an entry is an outcome."""
        kind = sql.value(self._connection, "SELECT kind FROM entries WHERE sequence = :sequence", sequence=sequence)
        return bool(kind == codec.OUTCOME)

    def _check_outcome(self, row: Raw, game: GameRecord, minute: int) -> None:
        """Check that no horizon after a forecast's minute had an outcome before the entry."""
        known = game.known_outcome(minute)
        _check(known is None, f"entry {row['entry_sequence']}: recorded with hindsight: {known}")


class _Games(dict[str, GameRecord]):
    """States of games; one that is not known has no entries."""

    def __missing__(self, game_id: str) -> GameRecord:
        return self.setdefault(game_id, GameRecord(game_id))


def equals_stored(stored: object, expected: object) -> bool:
    """Return whether a stored value is the one that was written; SQLite stores booleans as 0 or 1."""
    if isinstance(expected, bool):
        return type(stored) in {bool, int} and stored == expected
    return type(stored) is type(expected) and stored == expected


def _canonical(text: str) -> str | None:
    try:
        return canonical_json.dumps(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _check(valid: bool, message: str) -> None:
    if not valid:
        raise LedgerCorrupt(message)


def _check_row(row: Raw, name: str, expected: rows.Row | None) -> None:
    """Check the row of a table for an entry; with `expected` None, check that there is no row."""
    sequence = row["entry_sequence"]
    present = row[KEYS[name]] is not None
    if expected is None:
        _check(not present, f"entry {sequence}: the row in {name} should not exist")
        return
    _check(present, f"entry {sequence}: the row in {name} is missing")
    for column, label in LABELS[name]:
        if not equals_stored(row[label], expected[column]):
            raise LedgerCorrupt(
                f"entry {sequence}: the row in {name} does not match the entry: column {column} differs"
            )


def _fault_of_choice(issued: IssuedForecast, roster: Roster) -> str | None:
    """Describe why a forecast cannot be from the model that the roster chose; None if it can.

    With a model store, a forecast has the sequence of the model change that chose its model, unless the request named
    a model. Forecasts without that sequence may be from any model.

    Args:
        issued: the forecast.
        roster: the models after all changes before it.
    """
    if issued.roster_sequence is None:
        return None
    if issued.roster_sequence != roster.sequence:
        return (
            f"its model was chosen by the change at {issued.roster_sequence}, "
            f"but the change at {roster.sequence} was in force"
        )
    version = issued.forecast.model_version
    if version != roster.champion:
        return f"it claims to be of model {version}, but {roster.champion} was the champion"
    return None
