"""A ledger with other objects than those of this release is refused, by the server and by every command."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tests.support.builders.issued_forecasts import issued, recorded

from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerSchemaError, verify
from dejavu_server.ledger.audit.checkpoints import read_head
from dejavu_server.ledger.database import schema
from dejavu_server.ledger.database.sqlite.schema_check import check_schema

pytestmark = pytest.mark.sqlite

ALTERED = [
    (
        "CREATE TRIGGER t BEFORE INSERT ON markets BEGIN SELECT RAISE(IGNORE); END",
        "a trigger t on markets; expected no",
    ),
    ("CREATE VIEW v AS SELECT * FROM entries", "a view v; expected none"),
    ("CREATE TABLE notes (text TEXT)", "a table notes, which is not part of the schema"),
    ("ALTER TABLE entries ADD COLUMN note TEXT", "entries has note text where nothing is expected"),
    ("ALTER TABLE markets DROP COLUMN line", "markets has nothing where line double not null is expected"),
    ("ALTER TABLE markets RENAME COLUMN side TO away", "has away text not null where side text not null is expected"),
    ("DROP INDEX ix_forecasts_day", "ix_forecasts_day is missing; expected create index ix_forecasts_day on forecasts"),
    ("CREATE UNIQUE INDEX once ON forecasts (game_id)", "an index once, which is not part of the schema"),
    ("DROP TABLE snapshots", "snapshots is missing; expected create table snapshots; part text not null"),
]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("stake_fraction DOUBLE NOT NULL", "stake_fraction DOUBLE NOT NULL ON CONFLICT IGNORE"),
        ("side TEXT NOT NULL", "side TEXT COLLATE NOCASE NOT NULL"),
        ("line DOUBLE NOT NULL", "line DOUBLE NOT NULL CHECK (line < 50)"),
        ("line DOUBLE NOT NULL", "line DOUBLE"),
        ("line DOUBLE NOT NULL", "line TEXT NOT NULL"),
        (", \n\tCONSTRAINT uq_markets_forecast_sequence UNIQUE (forecast_sequence)", ""),
        ("REFERENCES entries (sequence)", "REFERENCES entries (sequence) ON DELETE CASCADE"),
    ],
)
async def test_a_table_made_anew_with_another_definition_is_refused(
    ledger: Ledger, url: str, tmp_path: Path, before: str, after: str
) -> None:
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        [(sql,)] = database.execute("SELECT sql FROM sqlite_master WHERE name = 'markets'")
    assert before in sql
    execute(tmp_path / "ledger.db", "DROP TABLE markets", sql.replace(before, after))
    with pytest.raises(LedgerSchemaError, match="markets has"):
        await Ledger.open(url)


_KEY = "CONSTRAINT pk_markets PRIMARY KEY (sequence)"
_ONCE = "CONSTRAINT uq_markets_forecast_sequence UNIQUE (forecast_sequence)"


@pytest.mark.parametrize(
    "after",
    [
        {f", {_ONCE}": "", "side TEXT NOT NULL": 'side TEXT NOT NULL, "unique ( forecast_sequence )"'},
        {_ONCE: _KEY.replace("pk_markets", "[UNIQUE (forecast_sequence), CONSTRAINT]"), f"{_KEY}, ": ""},
        {_ONCE: _KEY.replace("pk_markets", "[ UNIQUE (forecast_sequence), CONSTRAINT ]"), f"{_KEY}, ": ""},
        {_ONCE: _KEY.replace("pk_markets", "` UNIQUE (forecast_sequence), CONSTRAINT `"), f"{_KEY}, ": ""},
        {"line DOUBLE NOT NULL": 'line DOUBLE "NOT" "NULL"'},
        {"line DOUBLE NOT NULL": "line DOUBLE\u00a0NOT\u00a0NULL"},
        {"line DOUBLE NOT NULL": '"line""DOUBLE" NOT NULL'},
        {
            "line DOUBLE NOT NULL": 'line DOUBLE NOT NULL, "constraint" x side TEXT NOT NULL',
            ", side TEXT NOT NULL,": ",",
        },
    ],
)
async def test_names_in_quotes_that_read_like_a_constraint_are_none(
    ledger: Ledger, url: str, tmp_path: Path, after: dict[str, str]
) -> None:
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        [(sql,)] = database.execute("SELECT sql FROM sqlite_master WHERE name = 'markets'")
    sql = re.sub(r"\s+", " ", sql)
    for before, new in after.items():
        assert before in sql
        sql = sql.replace(before, new)
    execute(tmp_path / "ledger.db", "DROP TABLE markets", sql)
    with pytest.raises(LedgerSchemaError, match="markets has"):
        await Ledger.open(url)


def test_a_database_made_from_the_tables_has_the_same_objects_as_a_migrated_one() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY NOT NULL)")
        schema.metadata.create_all(connection)
        with pytest.raises(LedgerSchemaError, match="alembic_version has"):
            check_schema(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql(
            'CREATE TABLE "alembic_version" ([version_num] VARCHAR (32) NOT NULL,'
            "CONSTRAINT v PRIMARY KEY(`VERSION_NUM`))"
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
