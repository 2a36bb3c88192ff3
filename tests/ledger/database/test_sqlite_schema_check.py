"""A ledger with other objects than those of this release is refused, by the server and by every command."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tests.support.builders.issued_forecasts import issued, recorded

from dejavu_ledger import Ledger, LedgerCorrupt, LedgerSchemaError, verify
from dejavu_ledger.audit.checkpoints import read_head
from dejavu_ledger.database import schema
from dejavu_ledger.database.sqlite.schema_check import check_schema

pytestmark = pytest.mark.sqlite

ALTERED = [
    (
        "CREATE TRIGGER t BEFORE INSERT ON markets BEGIN SELECT RAISE(IGNORE); END",
        "a trigger t on markets; expected no",
    ),
    ("CREATE VIEW v AS SELECT * FROM entries", "a view v; expected none"),
    (
        "ALTER TABLE snapshots RENAME TO hidden; CREATE VIEW snapshots AS SELECT * FROM hidden",
        "there is a table hidden",
    ),
    ("CREATE TABLE notes (text TEXT)", "there is a table notes"),
    ("DROP TABLE snapshots", "snapshots is missing"),
    ("ALTER TABLE entries ADD COLUMN note TEXT", "entries has note text where nothing is expected"),
    (
        "ALTER TABLE forecasts DROP COLUMN scored_values",
        "forecasts has nothing where scored_values",
    ),
    ("DROP INDEX ix_forecasts_day", "ix_forecasts_day is missing; expected create index ix_forecasts_day on forecasts"),
    ("CREATE UNIQUE INDEX once ON forecasts (game_id, minute, sequence)", "there is an index once"),
    (
        "DROP INDEX ix_forecasts_day; CREATE INDEX ix_forecasts_day ON forecasts (day)",
        "ix_forecasts_day has create index",
    ),
]
"""Changes of the objects of a database, and how the refusal names them."""


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(";".join(statements))


@pytest.mark.parametrize(("statement", "named"), ALTERED)
async def test_a_ledger_with_other_objects_is_refused_by_their_name(
    ledger: Ledger, url: str, tmp_path: Path, statement: str, named: str
) -> None:
    await ledger.close()
    execute(tmp_path / "ledger.db", statement)
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerSchemaError, match=named):
        await Ledger.open(url)
    for read in (verify, read_head):
        with pytest.raises(LedgerSchemaError, match=named):
            read(url)
    assert (tmp_path / "ledger.db").read_bytes() == before


_KEY = "CONSTRAINT pk_shadows PRIMARY KEY (sequence)"
_ONCE = "CONSTRAINT uq_shadows_forecast_sequence UNIQUE (forecast_sequence, model_version)"
REDEFINED: dict[str, dict[str, str]] = {
    "conflicts ignored": {"replay BOOLEAN NOT NULL": "replay BOOLEAN NOT NULL ON CONFLICT IGNORE"},
    "another collation": {"model_version TEXT NOT NULL": "model_version TEXT COLLATE NOCASE NOT NULL"},
    "a check": {"minute INTEGER NOT NULL": "minute INTEGER NOT NULL CHECK (minute < 50)"},
    "nullable": {"minute INTEGER NOT NULL": "minute INTEGER"},
    "another type": {"minute INTEGER NOT NULL": "minute TEXT NOT NULL"},
    "not unique": {f", {_ONCE}": ""},
    "a cascade": {"REFERENCES entries (sequence)": "REFERENCES entries (sequence) ON DELETE CASCADE"},
    # Names in quotes that read like a constraint.
    "a column's name": {
        f", {_ONCE}": "",
        "model_version TEXT NOT NULL": 'model_version TEXT NOT NULL, "unique ( forecast_sequence , model_version )"',
    },
    "brackets": {
        _ONCE: _KEY.replace("pk_shadows", "[UNIQUE (forecast_sequence, model_version), CONSTRAINT]"),
        f"{_KEY}, ": "",
    },
    "accents": {
        _ONCE: _KEY.replace("pk_shadows", "` UNIQUE (forecast_sequence, model_version), CONSTRAINT `"),
        f"{_KEY}, ": "",
    },
    "a quoted type": {"minute INTEGER NOT NULL": 'minute INTEGER "NOT" "NULL"'},
    "other spaces": {"minute INTEGER NOT NULL": "minute INTEGER\u00a0NOT\u00a0NULL"},
    "a doubled quote": {"minute INTEGER NOT NULL": '"minute""INTEGER" NOT NULL'},
    "a moved column": {
        "minute INTEGER NOT NULL": 'minute INTEGER NOT NULL, "constraint" x horizon TEXT NOT NULL',
        ", horizon TEXT NOT NULL,": ",",
    },
}
"""Other definitions of the table of shadows: replacements in that of this release."""


@pytest.mark.parametrize("change", REDEFINED.values(), ids=REDEFINED)
async def test_a_table_made_anew_with_another_definition_is_refused(
    ledger: Ledger, url: str, tmp_path: Path, change: dict[str, str]
) -> None:
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        [(sql,)] = database.execute("SELECT sql FROM sqlite_master WHERE name = 'shadows'")
    sql = re.sub(r"\s+", " ", sql)
    for before, after in change.items():
        assert before in sql
        sql = sql.replace(before, after)
    execute(tmp_path / "ledger.db", "DROP TABLE shadows", sql)
    with pytest.raises(LedgerSchemaError, match="shadows has"):
        await Ledger.open(url)


def test_quotes_case_and_names_of_constraints_make_no_difference() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        connection.exec_driver_sql("DROP TABLE schema_version")
        connection.exec_driver_sql("CREATE TABLE schema_version (version TEXT PRIMARY KEY NOT NULL)")
        with pytest.raises(LedgerSchemaError, match="schema_version has"):
            check_schema(connection)
        connection.exec_driver_sql("DROP TABLE schema_version")
        connection.exec_driver_sql(
            'CREATE TABLE "schema_version" ([version] TEXT NOT NULL,CONSTRAINT v PRIMARY KEY(`VERSION`))'
        )
        check_schema(connection)


async def test_what_sqlite_adds_to_a_database_by_itself_is_no_part_of_the_schema(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    await recorded(ledger, issued())
    execute(tmp_path / "ledger.db", "ANALYZE")
    await (await Ledger.open(url)).close()
    assert verify(url).entries == 1


async def test_a_schema_with_names_that_are_no_text_is_damage(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """SQLite names them in its message, which its driver fails to read."""
    await ledger.close()
    turned = "UPDATE sqlite_master SET sql = 'no statement', name = CAST(x'ac' AS TEXT) WHERE name = 'leases'"
    execute(tmp_path / "ledger.db", "PRAGMA writable_schema = ON", turned)
    with pytest.raises(LedgerCorrupt, match="not a sound SQLite database"):
        await Ledger.open(url)
    with pytest.raises(LedgerCorrupt, match="not a sound SQLite database"):
        verify(url)
