"""Forges entries, rows and checkpoints of a ledger like an attacker who can write its file and knows the format."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dejavu_common.clock import microseconds
from dejavu_ledger import outcomes, settling
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import canonical_json, codec, rows
from dejavu_ledger.recording import load_game
from dejavu_ledger.rules import key_of
from dejavu_models.errors import DejavuError
from dejavu_models.types import Horizon


def entries(database: sqlite3.Connection, kind: str = "%") -> list[tuple[int, dict[str, Any]]]:
    """Return the entries, or those of a kind, in order, with their sequences."""
    found = database.execute("SELECT sequence, canonical FROM entries WHERE kind LIKE ? ORDER BY sequence", (kind,))
    return [(sequence, json.loads(text)) for sequence, text in found]


def append(
    database: sqlite3.Connection, entry: dict[str, Any], *, spaced: bool = False, skip: int = 0, row: bool = True
) -> None:
    """Append an entry with a valid hash and the row that follows from it."""
    sequence, previous = database.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC").fetchone()
    sequence += 1 + skip
    if row and entry["kind"] == codec.FORECAST and entry["revision"] == 0:  # the next one of its key
        issued = codec.parse(canonical_json.dumps({**entry, "sequence": sequence}))
        of_key = "SELECT max(revision) + 1 FROM forecasts WHERE key = ?"
        (following,) = database.execute(of_key, (key_of(issued, owned=True),)).fetchone()
        entry = {**entry, "revision": following or 0}
    text = canonical_json.dumps({**entry, "sequence": sequence})
    if spaced:
        text = text.replace('"payload":{', '"payload": {')
    values = (sequence, entry["kind"], text, codec.chain_hash(previous, text))
    database.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", values)
    if row:
        put_derived(database, entry["kind"], text)


def put_derived(database: sqlite3.Connection, kind: str, text: str) -> None:
    """Put the row that follows from an entry, in place of the one there."""
    if kind == codec.FORECAST:
        issued = codec.parse(text)
        pattern = codec.prepare(issued).pattern
        table, row = "forecasts", rows.forecast_row(issued, key_of(issued, owned=True), pattern, owned=True)
    elif kind == codec.OUTCOME:
        outcome = codec.parse_outcome(text)
        before = database.execute(
            "SELECT first_sequence, withdrawn FROM outcomes WHERE game_id = ? AND horizon = ? AND sequence < ?"
            " ORDER BY revision DESC LIMIT 1",
            (outcome.game_id, outcome.horizon.value, outcome.sequence),
        ).fetchone()
        first = outcome.sequence if before is None or before[1] else before[0]
        table, row = "outcomes", rows.outcome_row(outcome, first)
    elif kind == codec.MODEL:
        table, row = "model_changes", rows.change_row(codec.parse_change(text))
    elif kind == codec.SHADOW:
        columns = ", ".join(rows.ForecastRow._fields)
        target = codec.forecast_sequence(text)
        found = database.execute(f"SELECT {columns} FROM forecasts WHERE sequence = ?", (target,)).fetchone()
        # Beside no forecast: as if it were beside the first one.
        beside = rows.ForecastRow(*(found or database.execute(f"SELECT {columns} FROM forecasts").fetchone()))
        shadow = codec.parse_shadow(text, Horizon(beside.horizon), beside.alpha)
        table, row = "shadows", rows.shadow_row(shadow, beside)
    else:
        table, row = "markets", rows.market_row(codec.parse_market(text))
    put(database, table, row)
    derive_again(database)


def derive_again(database: sqlite3.Connection) -> None:
    """Derive again what follows from several entries."""
    connection = Connection("sqlite", database)
    for table in ("forecasts", "markets"):
        database.execute(f"UPDATE {table} SET hindsight = NULL")
    for (game_id,) in database.execute("SELECT DISTINCT game_id FROM outcomes").fetchall():
        for horizon, report in load_game(connection, game_id).deciding.items():
            outcomes.mark_hindsight(connection, game_id, horizon, report)
    with suppress(ValueError, DejavuError):
        database.execute("DELETE FROM scores")
        for (game_id,) in database.execute("SELECT DISTINCT game_id FROM outcomes").fetchall():
            settling.settle(connection, game_id)


def put(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    """Put a row, in place of the one with its key."""
    database.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES (:{', :'.join(row)})", row)


def rewrite(database: sqlite3.Connection, sequence: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Change an entry, and rebuild the chain from it on and the row that follows from it, if one does."""
    before = database.execute("SELECT hash FROM entries WHERE sequence = ?", (sequence - 1,)).fetchone()
    hash_ = before[0] if before else codec.genesis_hash(*database.execute("SELECT ledger_id FROM ledger").fetchone())
    for number, entry in entries(database)[sequence - 1 :]:
        if number == sequence:
            change(entry)
        text = canonical_json.dumps(entry)
        hash_ = codec.chain_hash(hash_, text)
        database.execute("UPDATE entries SET canonical = ?, hash = ? WHERE sequence = ?", (text, hash_, number))
        if number == sequence:
            with suppress(ValueError, DejavuError):
                put_derived(database, entry["kind"], text)


def sign(
    database: sqlite3.Connection,
    key: Ed25519PrivateKey,
    sequence: int,
    *,
    hash_: bytes | None = None,
    time: datetime | None = None,
) -> None:
    """Put a validly signed checkpoint at a sequence, in place of the one there; by default of the entry's own hash."""
    [stored] = database.execute("SELECT ledger_id, epoch FROM ledger")
    if hash_ is None:
        [(hash_,)] = database.execute("SELECT hash FROM entries WHERE sequence = ?", (sequence,))
    signed = checkpoints.sign(key, Identity(*stored), ChainHead(sequence, hash_), time or datetime.now(UTC))
    row = {name: getattr(signed, name) for name in ("sequence", "hash", "epoch", "public_key", "signature")}
    put(database, "checkpoints", {**row, "signed_us": microseconds(signed.signed_time)})


def sign_again(database: sqlite3.Connection, key: Ed25519PrivateKey) -> None:
    """Sign every checkpoint in the ledger again, for the chain as it is now."""
    for (sequence,) in database.execute("SELECT sequence FROM checkpoints").fetchall():
        sign(database, key, sequence)


def last(database: sqlite3.Connection, kind: str) -> dict[str, Any]:
    """Return the last entry of a kind."""
    return entries(database, kind)[-1][1]


def own_checkpoint(database: sqlite3.Connection) -> int:
    """Return the sequence of the newest checkpoint in the ledger."""
    sequence: int = database.execute("SELECT max(sequence) FROM checkpoints").fetchone()[0]
    return sequence


def cut_off(database: sqlite3.Connection, sequence: int, *, checkpoints: bool = True) -> None:
    """Remove the entries after a sequence, and everything derived from them."""
    tables = ["shadows", "model_changes", "markets", "outcomes", "forecasts", "entries"] + ["checkpoints"] * checkpoints
    database.execute("DELETE FROM snapshots")
    for table in tables:
        database.execute(f"DELETE FROM {table} WHERE sequence > ?", (sequence,))
    derive_again(database)
