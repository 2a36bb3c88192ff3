"""Tables of the ledger, those of schema.sql, which says what is in them: their creation and comparison.

None may be missing, changed or additional. A trigger or a rule can drop or alter entries. A view, a policy or a child
table can hide or add rows. An unlogged table is empty after a crash, and a table without its unique index takes rows
twice. SQLite keeps the statements that made its objects; PostgreSQL's catalogs are read as such statements, in an order
and without names of constraints.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection, Dialect
from dejavu_ledger.errors import LedgerSchemaError

VERSION: Final = "1"
"""Version of the schema, as stored in a database that has it."""

_TEXT: Final = re.sub(r"\s*--.*", "", Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"))
_STATEMENT: Final = re.compile(r"CREATE (?:TABLE|INDEX) (\w+) [^;]+")
_COLUMN: Final = re.compile(r"^  ([a-z]\w*) ([A-Z ]+?)(?: NOT NULL)?,?$", re.MULTILINE)
_TYPES: Final[Mapping[Dialect, Mapping[str, str]]] = {
    # In SQLite only an INTEGER primary key is the rowid, so that reading in order scans the table itself.
    "sqlite": {"BIGINT": "INTEGER", "BYTEA": "BLOB"},
    # Texts are ordered by their bytes on PostgreSQL too, in any locale of the database.
    "postgresql": {"TEXT": 'TEXT COLLATE "C"'},
}


@cache
def statements(dialect: Dialect) -> Mapping[str, str]:
    """Return the statement that creates each table and index, by its name, in an order in which they can run."""
    return {
        found[1]: re.sub(r"\b[A-Z]+\b", lambda word: _TYPES[dialect].get(word[0], word[0]), found[0])
        for found in _STATEMENT.finditer(_TEXT)
    }


TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    found[1]: dict(_COLUMN.findall(found[0]))
    for found in _STATEMENT.finditer(_TEXT)
    if found[0].startswith("CREATE TABLE")
}
"""The types of each table's columns, by PostgreSQL's names; the entries come before what refers to them."""


# SQLite itself owns what ANALYZE makes.
_OF_SQLITE: Final = """
    SELECT type, name, tbl_name, sql FROM sqlite_master
    WHERE type IN ('trigger', 'view') OR (sql IS NOT NULL AND substr(name, 1, 11) <> 'sqlite_stat')
"""

# Objects in the schema of the ledger, without those of extensions.
_HERE: Final = """
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() WHERE NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = CAST('pg_class' AS regclass) AND e.objid = c.oid AND e.deptype = 'e')
"""
_RELATIONS: Final = """
    SELECT c.relname, CAST(c.relkind AS text) FROM pg_class c {here} AND c.relkind NOT IN ('i', 'I', 't', 'c')
"""
_PARTS: Final = """
    SELECT c.relname, concat(a.attname, ' ', upper(format_type(a.atttypid, a.atttypmod)),
      CASE WHEN o.collname <> 'default' THEN concat(' COLLATE "', o.collname, '"') END,
      CASE WHEN a.attnotnull THEN ' NOT NULL' END,
      CASE WHEN a.attgenerated <> '' THEN ' GENERATED AS ' WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' END,
      pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation o ON o.oid = a.attcollation
    {here} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT c.relname, pg_get_constraintdef(s.oid)
    FROM pg_constraint s JOIN pg_class c ON c.oid = s.conrelid {here} AND s.contype IN ('p', 'u', 'f', 'c', 'x')
    UNION ALL SELECT c.relname, concat('the trigger ', t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid {here} AND NOT t.tgisinternal
    UNION ALL SELECT c.relname, concat('the rule ', r.rulename)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class {here} AND c.relkind = 'r'
    UNION ALL SELECT c.relname, 'a parent or child table'
    FROM pg_inherits i JOIN pg_class c ON c.oid IN (i.inhrelid, i.inhparent) {here}
    UNION ALL SELECT c.relname, 'a row security policy'
    FROM pg_class c {here} AND (c.relrowsecurity OR c.relforcerowsecurity)
    UNION ALL SELECT c.relname, 'no write-ahead log'
    FROM pg_class c {here} AND c.relkind = 'r' AND c.relpersistence <> 'p'
"""
_INDEXES: Final = """
    SELECT i.relname, concat('CREATE ', CASE WHEN x.indisunique THEN 'UNIQUE ' END, 'INDEX ', i.relname,
      ' ON ', c.relname, substring(pg_get_indexdef(x.indexrelid) FROM ' USING btree( .*)$'),
      CASE WHEN NOT (x.indisvalid AND x.indisready) THEN ' INVALID' END)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    {here} AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_constraint s WHERE s.conindid = x.indexrelid)
"""
_KINDS: Final = {"v": "view", "m": "materialized view", "f": "foreign table", "p": "partitioned table", "S": "sequence"}


_TABLE_NAMES: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


def check_schema(connection: Connection) -> None:
    """Check that a ledger has exactly the tables, columns, constraints and indexes of this release.

    Raises:
        LedgerSchemaError: if one is missing, changed or additional, or if there is a trigger, a rule, a view or a
            policy; the message names it and says what was expected.
    """
    found = _of_sqlite(connection) if connection.dialect == "sqlite" else _of_postgresql(connection)
    expected = statements(connection.dialect)
    for name, statement in expected.items():
        if name not in found:
            raise _schema_differs(f"{name} is missing; expected {' '.join(statement.split())}")
        has, needs = _lines(found[name]), _lines(statement)
        if has != needs:
            extra, lacks = ("; ".join(sorted(each)) or "nothing" for each in (has - needs, needs - has))
            raise _schema_differs(f"{name} has {extra} where {lacks} is expected")
    if more := sorted(found.keys() - expected.keys()):
        kind = "table" if found[more[0]].startswith("CREATE TABLE") else "index"
        raise _schema_differs(f"there is a {kind} {more[0]}, which is not part of the schema")


def _of_sqlite(connection: Connection) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for kind, name, table, statement in sql.rows(connection, _OF_SQLITE):
        if kind in {"trigger", "view"}:
            raise _schema_differs(f"there is a {kind} {name}{f' on {table}' * (kind == 'trigger')}; expected none")
        found[name] = str(statement)
    return found


def _of_postgresql(connection: Connection) -> Mapping[str, str]:
    for name, kind in sql.rows(connection, _RELATIONS.replace("{here}", _HERE)):
        if kind != "r" or name not in TABLES:
            raise _schema_differs(f"there is a {_KINDS.get(kind, 'table')} {name}, which is not part of the schema")
    parts = defaultdict[str, list[str]](list)
    for table, part in sql.rows(connection, _PARTS.replace("{here}", _HERE)):
        parts[table].append(part)
    tables = {name: f"CREATE TABLE {name} (\n  " + ",\n  ".join(of) + "\n)" for name, of in parts.items()}
    return tables | dict[str, Any](sql.rows(connection, _INDEXES.replace("{here}", _HERE)))


def _lines(statement: str) -> frozenset[str]:
    return frozenset(line.strip().removesuffix(",") for line in statement.splitlines())


def _schema_differs(what: str) -> LedgerSchemaError:
    return LedgerSchemaError(f"the database is not a ledger of this release: {what}")


def create_tables(connection: Connection) -> None:
    """Create the tables, and the identity of a new ledger, in an empty database."""
    for statement in statements(connection.dialect).values():
        sql.rows(connection, statement)
    sql.insert(connection, "schema_version", [{"version": VERSION}])
    sql.insert(connection, "ledger", [{"id": 1, "ledger_id": uuid.uuid4().hex, "epoch": secrets.token_hex(8)}])


def is_empty(connection: Connection) -> bool:
    """Return whether a database has no tables yet; otherwise it is a ledger of this schema.

    Raises:
        LedgerSchemaError: if it has another schema, or is not a ledger.
    """
    tables = {name for (name,) in sql.rows(connection, _TABLE_NAMES[connection.dialect])}
    if not tables:
        return True
    if "schema_version" not in tables:
        raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    version = sql.value(connection, "SELECT version FROM schema_version")
    if version != VERSION:
        raise LedgerSchemaError(f"the database has schema {version!r}; this release knows {VERSION!r} alone")
    return False
