"""Compares the objects of a database with the schema of this release: none may be missing, changed or additional.

A trigger or a rule can drop or alter entries. A view, a policy or a child table can hide or add rows. An unlogged table
is empty after a crash, and a table without its unique index takes rows twice. SQLite keeps the statements that made its
objects; PostgreSQL's catalogs are read as such statements, in an order and without names of constraints.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.schema import TABLES, statements
from dejavu_ledger.database.sql import Connection
from dejavu_ledger.errors import LedgerSchemaError

# What ANALYZE makes is SQLite's own.
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
    SELECT c.relname, CAST(c.relkind AS text), c.relpersistence <> 'p', c.relrowsecurity OR c.relforcerowsecurity,
      EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
    FROM pg_class c {here} AND c.relkind NOT IN ('i', 'I', 't', 'c')
"""
_INTERVENTIONS: Final = """
    SELECT 'trigger', t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    {here} AND NOT t.tgisinternal
    UNION ALL SELECT 'rule', r.rulename, c.relname FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    {here} AND c.relkind = 'r'
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
"""
_INDEXES: Final = """
    SELECT i.relname, concat('CREATE ', CASE WHEN x.indisunique THEN 'UNIQUE ' END, 'INDEX ', i.relname,
      ' ON ', c.relname, substring(pg_get_indexdef(x.indexrelid) FROM ' USING btree( .*)$'),
      CASE WHEN NOT (x.indisvalid AND x.indisready) THEN ' INVALID' END)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    {here} AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_constraint s WHERE s.conindid = x.indexrelid)
"""
_KINDS: Final = {"v": "view", "m": "materialized view", "f": "foreign table", "p": "partitioned table", "S": "sequence"}


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
            raise _differs(f"{name} is missing; expected {' '.join(statement.split())}")
        if _comparable(connection, found[name]) != _comparable(connection, statement):
            has, needs = _lines(found[name]), _lines(statement)
            extra, lacks = ("; ".join(sorted(each)) or "nothing" for each in (has - needs, needs - has))
            raise _differs(f"{name} has {extra} where {lacks} is expected")
    if more := sorted(found.keys() - expected.keys()):
        kind = "table" if found[more[0]].startswith("CREATE TABLE") else "index"
        raise _differs(f"there is a {kind} {more[0]}, which is not part of the schema")


def _of_sqlite(connection: Connection) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for kind, name, table, statement in sql.rows(connection, _OF_SQLITE):
        if kind in {"trigger", "view"}:
            raise _differs(f"there is a {kind} {name}{f' on {table}' * (kind == 'trigger')}; expected none")
        found[name] = str(statement)
    return found


def _of_postgresql(connection: Connection) -> Mapping[str, str]:
    for name, kind, unlogged, policies, inherits in sql.rows(connection, _RELATIONS.replace("{here}", _HERE)):
        if kind != "r" or name not in TABLES:
            raise _differs(f"there is a {_KINDS.get(kind, 'table')} {name}, which is not part of the schema")
        odd = {"a row security policy": policies, "a parent or child table": inherits, "no write-ahead log": unlogged}
        for what in (what for what, is_so in odd.items() if is_so):
            raise _differs(f"table {name} has {what}; expected none of it")
    for kind, name, table in sql.rows(connection, _INTERVENTIONS.replace("{here}", _HERE)):
        raise _differs(f"there is a {kind} {name} on {table}; expected none")
    parts = defaultdict[str, list[str]](list)
    for table, part in sql.rows(connection, _PARTS.replace("{here}", _HERE)):
        parts[table].append(part)
    tables = {name: f"CREATE TABLE {name} (\n  " + ",\n  ".join(of) + "\n)" for name, of in parts.items()}
    return tables | dict[str, Any](sql.rows(connection, _INDEXES.replace("{here}", _HERE)))


def _comparable(connection: Connection, statement: str) -> object:
    """Return what must be equal of a statement: all of it where the database keeps it as it was."""
    return statement if connection.dialect == "sqlite" else _lines(statement)


def _lines(statement: str) -> frozenset[str]:
    return frozenset(line.strip().removesuffix(",") for line in statement.splitlines())


def _differs(what: str) -> LedgerSchemaError:
    return LedgerSchemaError(f"the database is not a ledger of this release: {what}")
