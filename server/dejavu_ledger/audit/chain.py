"""Verifies the hash chain, and compares every table row with the one derived from the entries.

The chain protects only the canonical forms, so the rows are derived from them again. Values are compared as stored,
including their type: SQLite accepts text or bytes in a numeric column.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from dejavu_feed.moment import moment_fault
from dejavu_ledger.audit import market_answers
from dejavu_ledger.audit.checkpoints import SignedTimes
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import canonical_json, codec, rows
from dejavu_ledger.entries.rows import ForecastRow
from dejavu_ledger.errors import LedgerCorrupt, LedgerError
from dejavu_ledger.queries import model_changes
from dejavu_ledger.recording import read_revisions
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.rules import GameRecord, OutcomeRevisions, Revisions, key_of, market_is_late
from dejavu_models.errors import DejavuError
from dejavu_models.types import Horizon
from dejavu_store.stages import Roster

PAGE: Final = 500
"""Entries that are read at a time. Short reads do not block checkpoints of the write-ahead log."""

Raw: TypeAlias = Mapping[str, Any]
"""A row with its values as stored, by column; of a BOOLEAN column False and True, for which SQLite has 0 and 1."""

DERIVED: Final = {
    codec.FORECAST: "forecasts",
    codec.OUTCOME: "outcomes",
    codec.MARKET: "markets",
    codec.SHADOW: "shadows",
    codec.MODEL: "model_changes",
}
"""Kind → the table with one row for each of its entries, which follows from the entries."""

_BETWEEN: Final = "WHERE sequence > :after AND sequence <= :through ORDER BY sequence"

_NAMED: Final = """
    SELECT COLUMNS, f.owned, e.canonical FROM forecasts f JOIN entries e ON e.sequence = f.sequence
    WHERE f.sequence IN (
        SELECT forecast_sequence FROM markets WHERE sequence > :after AND sequence <= :through
        UNION SELECT forecast_sequence FROM shadows WHERE sequence > :after AND sequence <= :through
    )
""".replace("COLUMNS", ", ".join(f"f.{name}" for name in ForecastRow._fields))
"""The forecasts of some markets and shadows: the columns of `ForecastRow`, whether they are owned, and their texts."""

_ORPHANS: Final = "SELECT count(*) FROM TABLE WHERE sequence NOT IN (SELECT sequence FROM entries)"

_OF_WRONG_VALUES = (ValueError, TypeError, AttributeError, OverflowError, RecursionError, struct.error, DejavuError)
"""Exceptions raised for entries with values that no server writes, such as a number instead of a string."""


def stored_rows(connection: Connection, table: str, where: str = _BETWEEN, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a table that meet a condition, by default those after a sequence up to another; see `Raw`."""
    columns = TABLES[table]
    flags = [kind == "BOOLEAN" for kind in columns.values()]
    return [
        {
            name: bool(value) if flag and type(value) is int and value in {0, 1} else value
            for name, flag, value in zip(columns, flags, row, strict=True)
        }
        for row in sql.rows(connection, f"SELECT {', '.join(columns)} FROM {table} {where}", **values)  # noqa: S608
    ]


def stored_pages(
    connection: Connection, table: str, *, after: int = 0, through: int = 2**63 - 1, size: int = PAGE
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a table after a sequence, up to another, in order, some at a time."""
    while page := stored_rows(connection, table, f"{_BETWEEN} LIMIT :size", after=after, through=through, size=size):
        yield page
        after = page[-1]["sequence"]


def check_types(entry: Raw) -> None:
    """Check that the values of a stored entry have the types that were written; SQLite allows others.

    Raises:
        LedgerCorrupt: if one has not.
    """
    if not all(isinstance(entry[name], kind) for name, kind in (("kind", str), ("canonical", str), ("hash", bytes))):
        raise LedgerCorrupt(f"entry {entry['sequence']}: a value has the wrong type")


def next_head(head: ChainHead, entry: Raw) -> ChainHead:
    """Return the head of a chain with its next entry, whose hash is computed again.

    Raises:
        LedgerCorrupt: if the entry is not the next one, or this entry or the one before it was altered.
    """
    check_types(entry)
    sequence, hash_ = entry["sequence"], entry["hash"]
    if sequence != head.sequence + 1:
        raise LedgerCorrupt(f"entry {sequence}: it follows entry {head.sequence}; expected no gaps")
    if codec.chain_hash(head.hash, entry["canonical"]) != hash_:
        raise LedgerCorrupt(f"entry {sequence}: hash mismatch: this entry or the one before it was altered")
    return ChainHead(sequence, hash_)


class ChainVerifier:
    """Verifies the entries of a ledger in order, with the rows derived from each.

    Args:
        connection: a read connection.
        identity: identity of the ledger.
        times: the times between which entries can have been recorded.

    Attributes:
        head: the last entry verified; before the first, the start of the chain.
        counts: entries verified so far, by kind.
        games: states of the games after them.
    """

    def __init__(self, connection: Connection, identity: Identity, times: SignedTimes) -> None:
        self._connection = connection
        self._times = times
        self.head = store.start_of_chain(identity.ledger_id)
        self.counts = Counter[str]()
        self.games: dict[str, GameRecord] = {}
        self._outcomes: dict[tuple[str, Horizon], OutcomeRevisions] = {}
        self._outcome_sequences = set[int]()
        self._named: dict[int, sql.Row] = {}  # the forecasts of the markets and shadows of the page
        self._priced = 0  # the newest forecast that was recorded together with a market
        self._roster = Roster()
        self._checks = {
            codec.FORECAST: self._check_forecast,
            codec.OUTCOME: self._check_outcome,
            codec.MARKET: self._check_market,
            codec.SHADOW: self._check_shadow,
            codec.MODEL: self._check_change,
        }

    def run(self) -> None:
        """Verify every entry with its rows, and then that no row is without an entry.

        Raises:
            LedgerCorrupt: at the first entry that was altered or has a row that does not match it, named with the
                reason; or for a table that has rows without an entry.
        """
        for entries in stored_pages(self._connection, "entries"):
            after, through = self.head.sequence, entries[-1]["sequence"]
            # Rows do not change once they are recorded, but for the marks of hindsight, which are checked later.
            self._named = {each[0]: each for each in sql.rows(self._connection, _NAMED, after=after, through=through)}
            derived = {
                kind: {
                    row["sequence"]: row for row in stored_rows(self._connection, table, after=after, through=through)
                }
                for kind, table in DERIVED.items()
            }
            for entry in entries:
                self.head = next_head(self.head, entry)
                try:
                    self._check_entry(entry, {kind: of.get(self.head.sequence) for kind, of in derived.items()})
                except LedgerError:
                    raise
                except _OF_WRONG_VALUES as error:
                    raise LedgerCorrupt(f"entry {self.head.sequence}: {error}") from error
        for table in DERIVED.values():
            if sql.value(self._connection, _ORPHANS.replace("TABLE", table)):
                raise LedgerCorrupt(f"table {table} has rows without an entry")

    def _check_entry(self, entry: Raw, derived: Mapping[str, Raw | None]) -> None:
        """Check an entry whose hash is right, given the rows of its sequence in the table of each kind.

        The columns kind and sequence are not hashed. The text has both, and agrees with the column: it is read as an
        entry of its kind, and the sequence of the row is derived from it.
        """
        kind, text = entry["kind"], entry["canonical"]
        _check(kind in DERIVED, f"its kind is unknown: {kind!r}")
        # Otherwise duplicate keys could be read in two ways: some parsers take the first, others the last.
        _check(_canonical(text) == text, "its text is not in canonical form")
        for each, row in derived.items():
            _check(row is None or each == kind, f"the row in {DERIVED[each]} should not exist")
        row = derived[kind]
        if row is None:
            raise ValueError(f"the row in {DERIVED[kind]} is missing")
        self._checks[kind](text, row)
        self.counts[kind] += 1

    def _check_forecast(self, text: str, row: Raw) -> None:
        """Check a forecast: what it is, whose it is, that it is a revision of its key, and late if it is marked so."""
        issued = codec.parse(text)
        caller = issued.recorded_by
        self._check_minute(issued)
        self._times.check(issued.sequence, issued.generated_time)
        game = self._game(issued.game_id)
        game.check_lease(caller, issued.lease)
        owned = game.owns(caller, issued.lease)
        key = key_of(issued, owned=owned)
        _check_row("forecasts", row, rows.forecast_row(issued, key, codec.prepare(issued).pattern, owned=owned))
        self._check_revision(issued, key, may_repeat=game.changes_owner(caller, owned=owned))
        _check_unknown(game, issued.forecast.elapsed_minutes)
        _check(owned or issued.clock is None, "it states a published clock, but is not of the game's owner")
        reason = game.late(issued, owned=owned, clock=issued.clock)
        _check(
            reason is issued.late,
            f"marked as late: {issued.late and issued.late.value}; by what is before it: {reason and reason.value}",
        )
        seconds = issued.forecast.elapsed_seconds
        game.add_forecast(issued.sequence, caller, issued.lease, seconds, issued.generated_time, issued.late)
        self._check_choice(issued)

    def _game(self, game_id: str) -> GameRecord:
        return self.games.setdefault(game_id, GameRecord(game_id))

    def _check_minute(self, issued: IssuedForecast) -> None:
        """Check that a forecast has the minute of its pattern, and that this is before its horizon.

        Otherwise a forecast of the half could state minute 30 and be recorded after the outcome of the half, which
        excludes only minutes before the half.
        """
        minute, pattern, horizon = issued.forecast.elapsed_minutes, issued.pattern.minutes, issued.forecast.horizon
        _check(
            minute == pattern <= horizon.last_slot,
            f"a forecast of {horizon.value} as of minute {minute}, with a pattern of "
            f"{pattern} minutes: possibly recorded with hindsight",
        )
        moment = issued.forecast.moment
        fault = None if moment is None else moment_fault(moment, issued.pattern.differentials, horizon)
        if fault is not None:
            raise ValueError(f"{fault.field} is {fault.found}; expected {fault.expected}")

    def _check_revision(self, issued: IssuedForecast, key: str, *, may_repeat: bool) -> None:
        """Check that a forecast follows the revisions of its key, and repeats none unless it may."""
        if not issued.revision:  # the database has no two with this number
            return
        before = read_revisions(self._connection, [key], issued.sequence).get(key, Revisions())
        _check(
            issued.revision == before.next_number,
            f"revision {issued.revision} of a forecast does not follow: revisions count from 0",
        )
        _check(may_repeat or before.find(issued) is None, "it changes nothing: it has the input of an earlier revision")

    def _check_choice(self, issued: IssuedForecast) -> None:
        """Check that a forecast can be from the model that was chosen for it.

        With a model store, a forecast has the sequence of the model change that chose its model, unless the request
        named a model. Forecasts without that sequence may be from any model.
        """
        chosen, roster = issued.roster_sequence, self._roster
        if chosen is None:
            return
        _check(
            chosen == roster.sequence,
            f"its model was chosen by the change at {chosen}, but the change at {roster.sequence} was in force",
        )
        version = issued.forecast.model_version
        _check(
            version == roster.champion, f"it claims to be of model {version}, but {roster.champion} was the champion"
        )

    def _check_outcome(self, text: str, row: Raw) -> None:
        outcome = codec.parse_outcome(text)
        key, game = (outcome.game_id, outcome.horizon), self._game(outcome.game_id)
        revisions = self._outcomes[key] = self._outcomes.get(key, OutcomeRevisions()).after(outcome)
        derived = rows.outcome_row(outcome, revisions.first_sequence)
        _check_row("outcomes", row, derived)
        self._times.check(outcome.sequence, outcome.recorded_time)
        game.add_outcome(outcome.horizon, outcome.sequence, outcome.observed_time, withdrawn=outcome.withdrawn)
        self._outcome_sequences.add(outcome.sequence)

    def _check_market(self, text: str, row: Raw) -> None:
        market = codec.parse_market(text)
        sequence, target = market.sequence, market.forecast_sequence
        learned, sent = market.calibration_sequence, market.requested_time
        _check_row("markets", row, rows.market_row(market))
        named = self._named.get(target)
        if named is None or target >= sequence:
            raise ValueError(f"the market needs an earlier forecast at {target}")
        *_, owned, canonical = named
        forecast = codec.parse(canonical)
        game = self.games[forecast.game_id]
        _check_unknown(game, forecast.forecast.elapsed_minutes)
        made = forecast.generated_time if sent is None else sent
        self._times.check(sequence, made)
        known = forecast.forecast.calibration_sequence
        _check(
            learned is None or (known < learned and learned in self._outcome_sequences),
            f"the market's answer does not match the forecast at {target}: calibration_sequence is "
            f"{learned!r}; expected an outcome after {known}, which is that of the forecast, and before the market",
        )
        fault = market_answers.fault_of(forecast, market.market, market.answer, learned_since=learned is not None)
        _check(fault is None, f"the market's answer does not match the forecast at {target}: {fault}")
        _check(
            sent is not None or sequence == target + 1 or (sequence == target + 2 and self._priced == target),
            f"recorded with hindsight: it claims that the market was sent with the forecast at {target}, but "
            "does not directly follow it",
        )
        self._priced = target if sent is None else self._priced
        _check(
            not market_is_late(game, forecast, made, owned=bool(owned)),
            f"recorded with hindsight: the market came {made - forecast.generated_time} after the forecast at "
            f"{target}, which was made too long ago, or late, by then",
        )

    def _check_shadow(self, text: str, row: Raw) -> None:
        sequence, target = row["sequence"], codec.forecast_sequence(text)
        _check_row("shadows", row, {"forecast_sequence": target})
        named = self._named.get(target)
        if named is None or target >= sequence:
            raise ValueError(f"the shadow needs an earlier forecast at {target}")
        beside = ForecastRow(*named[: len(ForecastRow._fields)])  # already compared with its entry
        shadow = codec.parse_shadow(text, Horizon(beside.horizon), beside.alpha)
        _check_row("shadows", row, rows.shadow_row(shadow, beside))
        # It may have waited for its turn while a checkpoint was signed.
        self._times.check(sequence, shadow.generated_time, may_be_older=True)
        _check(
            shadow.forecast.elapsed_minutes == beside.minute,
            f"the shadow is of another minute than the forecast at {target}",
        )
        _check(
            shadow.forecast.model_version != beside.model_version,
            f"the shadow is of the model that made the forecast at {target}",
        )
        game = self.games[beside.game_id]
        _check_unknown(game, beside.minute)
        _check(
            not game.was_withdrawn(beside.minute),
            "recorded after an outcome of its game that was withdrawn, with hindsight",
        )

    def _check_change(self, text: str, row: Raw) -> None:
        change = codec.parse_change(text)
        _check_row("model_changes", row, rows.change_row(change))
        self._times.check(change.sequence, change.changed_time)
        self._roster = model_changes.check_next(self._roster, change)


def difference(stored: Raw, expected: Raw) -> str | None:
    """Return the first column whose value or type differs from what was written; None if none does."""
    differ = (
        name for name, value in expected.items() if type(stored[name]) is not type(value) or stored[name] != value
    )
    return next(differ, None)


def _check_row(table: str, row: Raw, expected: Raw) -> None:
    column = difference(row, expected)
    _check(column is None, f"the row in {table} does not match the entry: column {column} differs")


def _check_unknown(game: GameRecord, minute: int) -> None:
    """Check that no horizon after a forecast's minute had an outcome before the entry."""
    known = game.known_outcome(minute)
    _check(known is None, f"recorded with hindsight: {known}")


def _canonical(text: str) -> str | None:
    try:
        return canonical_json.dumps(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _check(valid: bool, message: str) -> None:
    if not valid:
        raise ValueError(message)
