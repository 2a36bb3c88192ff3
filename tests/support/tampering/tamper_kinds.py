"""All kinds of tampering with a ledger, and the check that finds each: the table of docs/verification.md, as programs.

Each needs write access to the file and knowledge of the format: hashes and rows are made to fit, unless the kind
says otherwise. `full_ledger.fill` makes the ledger; a client keeps the checkpoint of its last entry.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.support.tampering import tamper_entries, tamper_models
from tests.support.tampering.forging import own_checkpoint, sign
from tests.support.tampering.tampering import Kinds

from dejavu_server.ledger.audit.signing_key import load_or_create

KINDS: Final = Kinds([*tamper_entries.KINDS, *tamper_models.KINDS])

_DAYS = timedelta(days=5)

# Rows that follow from the entries.


def _remake(what: str, before: str, after: str) -> None:
    """Add a kind that recreates the table of shadows, with its rows, by an altered statement."""

    def do(database: sqlite3.Connection, _: Path) -> None:
        [(sql,)] = database.execute("SELECT sql FROM sqlite_master WHERE name = 'shadows'")
        assert before in sql
        stored = database.execute("SELECT * FROM shadows").fetchall()
        database.execute("DROP TABLE shadows")
        database.execute(sql.replace(before, after))
        database.executemany("INSERT INTO shadows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", stored)

    KINDS.step("schema", what, "schema")(do)


for table, column, value in (
    ("forecasts", "confidence", "0.99"),
    ("outcomes", "differential", "differential + 1"),
    ("markets", "forecast_sequence", "forecast_sequence + 1"),
    ("shadows", "minute", "minute + 1"),
    ("model_changes", "changed_us", "changed_us + 1"),
):
    first = f"sequence = (SELECT min(sequence) FROM {table})"
    KINDS.sql(table, "a value", f"UPDATE {table} SET {column} = {value} WHERE {first}", "rows")
    KINDS.sql(table, "a value stored as bytes", f"UPDATE {table} SET {column} = x'00' WHERE {first}", "rows")
    KINDS.sql(table, "a row removed", f"DELETE FROM {table} WHERE {first}", "rows")
    KINDS.sql(table, "a row moved to another entry", f"UPDATE {table} SET sequence = 999 WHERE {first}", "rows")

KINDS.sql("forecasts", "the mark that a forecast is late", "UPDATE forecasts SET late = '' WHERE late != ''", "rows")
KINDS.sql(
    "forecasts",
    "a row added",
    "INSERT INTO forecasts SELECT 999, key, 9, pattern, game_id, horizon, generated_us,"
    " day, home_team, away_team, model_version, minute, elapsed_s, at_moment, alpha, confidence, replay, margin_given,"
    " margin_plausible, pregame_total, neutral_site, missing_players, late, scored_values, recorded_by,"
    " total_values"
    " FROM forecasts LIMIT 1",
    "rows",
)
KINDS.sql(
    "forecasts", "the values that scores are computed from", "UPDATE forecasts SET scored_values = zeroblob(40)", "rows"
)
KINDS.sql(
    "forecasts",
    "values that scores of a total are computed from, added",
    "UPDATE forecasts SET total_values = zeroblob(432)",
    "rows",
)
KINDS.sql("outcomes", "total points added", "UPDATE outcomes SET total_points = 211", "rows")
KINDS.sql("outcomes", "the mark that an outcome is withdrawn", "UPDATE outcomes SET withdrawn = 1 - withdrawn", "rows")
KINDS.sql(
    "outcomes", "the place of the first report", "UPDATE outcomes SET first_sequence = first_sequence - 1", "rows"
)
KINDS.sql(
    "markets",
    "a row added for a forecast without a market",
    "INSERT INTO markets SELECT max(sequence), max(sequence), 0 FROM forecasts",
    "rows",
)
KINDS.sql(
    "markets",
    "the kind of a market",
    "UPDATE markets SET on_total = 1 - on_total",
    "rows",
)

KINDS.sql(
    "shadows", "the values that scores are computed from", "UPDATE shadows SET scored_values = zeroblob(40)", "rows"
)
KINDS.sql("shadows", "the forecast that it is beside", "UPDATE shadows SET forecast_sequence = 1 - sequence", "rows")

# Checkpoints and snapshots.

KINDS.sql("checkpoints", "the signature", "UPDATE checkpoints SET signature = zeroblob(64)", "own checkpoints")
KINDS.sql("checkpoints", "the time", "UPDATE checkpoints SET signed_us = signed_us + 1", "own checkpoints")
KINDS.sql("checkpoints", "the hash", "UPDATE checkpoints SET hash = zeroblob(32)", "own checkpoints")
KINDS.sql("checkpoints", "the public key", "UPDATE checkpoints SET public_key = zeroblob(32)", "own checkpoints")
KINDS.sql(
    "checkpoints", "one moved to another entry", "UPDATE checkpoints SET sequence = sequence - 1", "own checkpoints"
)
KINDS.sql("checkpoints", "one removed", "DELETE FROM checkpoints", None)


@KINDS.step("checkpoints", "one added, signed with the key, for a hash that is not the entry's", "own checkpoints")
def _(database: sqlite3.Connection, key: Path) -> None:
    sign(database, load_or_create(key), 3, hash_=bytes(32))


@KINDS.step("checkpoints", "one added, signed with the key, beyond the last entry", "own checkpoints")
def _(database: sqlite3.Connection, key: Path) -> None:
    sign(database, load_or_create(key), 999, hash_=bytes(32))


@KINDS.step("checkpoints", "one signed again with the key for a time five days earlier", "time")
def _(database: sqlite3.Connection, key: Path) -> None:
    sign(database, load_or_create(key), own_checkpoint(database), time=datetime.now(UTC) - _DAYS)


@KINDS.step("checkpoints", "one signed again with the key for a time five days later", "time")
def _(database: sqlite3.Connection, key: Path) -> None:
    sign(database, load_or_create(key), own_checkpoint(database), time=datetime.now(UTC) + _DAYS)


KINDS.sql("snapshots", "the state", "UPDATE snapshots SET state = replace(state, '1', '2')", "snapshot")
KINDS.sql("snapshots", "one moved to another outcome", "UPDATE snapshots SET sequence = sequence - 1", "snapshot")
KINDS.sql("snapshots", "one added", "INSERT INTO snapshots SELECT 999, state FROM snapshots", "snapshot")
KINDS.sql("snapshots", "one removed", "DELETE FROM snapshots", None)

# Identity and version.

KINDS.sql(
    "ledger", "the ledger's id", f"UPDATE ledger SET ledger_id = '{'f' * 32}'", "own checkpoints", "kept checkpoint"
)
KINDS.sql("ledger", "the epoch, as after a restore", f"UPDATE ledger SET epoch = '{'f' * 16}'", None, "kept checkpoint")
KINDS.sql("ledger", "the row removed", "DELETE FROM ledger", "identity")
KINDS.sql("ledger", "a second row", "INSERT INTO ledger SELECT 2, ledger_id, epoch FROM ledger", "file")
KINDS.sql("alembic_version", "the version", "UPDATE alembic_version SET version_num = 'ledger_0003'", "schema")
KINDS.sql("alembic_version", "the row removed", "DELETE FROM alembic_version", "schema")
KINDS.sql("alembic_version", "a second row", "INSERT INTO alembic_version VALUES ('ledger_0099')", "schema")

# Objects of the database.

KINDS.sql(
    "schema",
    "a trigger that drops what is recorded",
    "CREATE TRIGGER t BEFORE INSERT ON markets BEGIN SELECT RAISE(IGNORE); END",
    "schema",
)
KINDS.sql(
    "schema",
    "a trigger that alters what is recorded",
    "CREATE TRIGGER t AFTER INSERT ON markets BEGIN UPDATE markets SET on_total = 1; END",
    "schema",
)
KINDS.sql("schema", "a view", "CREATE VIEW v AS SELECT * FROM entries", "schema")
KINDS.sql(
    "schema",
    "a view in place of a table",
    "ALTER TABLE snapshots RENAME TO hidden; CREATE VIEW snapshots AS SELECT * FROM hidden",
    "schema",
)
KINDS.sql("schema", "a table added", "CREATE TABLE notes (text TEXT)", "schema")
KINDS.sql("schema", "a table removed", "DROP TABLE snapshots", "schema")
KINDS.sql("schema", "a column added", "ALTER TABLE entries ADD COLUMN note TEXT", "schema")
KINDS.sql("schema", "a column removed", "ALTER TABLE forecasts DROP COLUMN scored_values", "schema")
_remake("a column with another type", "minute INTEGER", "minute TEXT")
_remake("a column that may be null", "model_version TEXT NOT NULL", "model_version TEXT")
_remake(
    "a column that may be null, of a type in quotes that reads like NOT NULL",
    "model_version TEXT NOT NULL",
    'model_version TEXT "NOT" "NULL"',
)
_remake("a unique constraint removed", "UNIQUE (forecast_sequence, model_version)", "CHECK (1)")
_remake(
    "a constraint that ignores conflicts",
    "UNIQUE (forecast_sequence, model_version)",
    "UNIQUE (forecast_sequence, model_version) ON CONFLICT IGNORE",
)
KINDS.sql("schema", "an index removed", "DROP INDEX ix_forecasts_day", "schema")
KINDS.sql("schema", "an index added", "CREATE UNIQUE INDEX once ON forecasts (game_id, minute, sequence)", "schema")
KINDS.sql(
    "schema",
    "an index on other columns",
    "DROP INDEX ix_forecasts_day; CREATE INDEX ix_forecasts_day ON forecasts (day)",
    "schema",
)
