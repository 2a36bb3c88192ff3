"""Compares the objects of a PostgreSQL schema with the schema of this release: none may be missing or additional.

A trigger or a rule can drop or alter entries. A view, a policy or a child table can hide or add rows. An unlogged table
is empty after a crash, and a table without its unique index takes rows twice. The catalogs are compared, except the
order of columns, the names of constraints and objects of extensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import cache
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import Constraint

from dejavu_ledger.database.schema import metadata
from dejavu_ledger.errors import LedgerSchemaError

# Restricts `c` to the objects in the schema of the ledger, without those of extensions.
_HERE = (
    "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() WHERE NOT EXISTS"
    " (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
)


def _in_schema(statement: str) -> TextClause:
    return text(statement.replace("{here}", _HERE))


_OBJECTS = _in_schema(
    "SELECT c.relname, c.relkind::text AS kind, c.relpersistence::text AS persistence,"
    " c.relrowsecurity OR c.relforcerowsecurity AS policies,"
    " EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS inherits"
    " FROM pg_class c {here} AND c.relkind NOT IN ('i', 'I', 't', 'c')"
)
_COLUMNS = _in_schema(
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,"
    " o.collname, a.attgenerated::text AS generated, a.attidentity::text AS identity,"
    " pg_get_expr(d.adbin, d.adrelid) AS value"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " LEFT JOIN pg_collation o ON o.oid = a.attcollation {here}"
    " AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
)
_CONSTRAINTS = _in_schema(
    "SELECT c.relname, pg_get_constraintdef(s.oid) AS definition"
    " FROM pg_constraint s JOIN pg_class c ON c.oid = s.conrelid {here} AND s.contype IN ('p', 'u', 'f', 'c', 'x')"
)
_INDEXES = _in_schema(
    "SELECT c.relname, i.relname AS name, x.indisunique, x.indisvalid AND x.indisready AS valid,"
    " substring(pg_get_indexdef(x.indexrelid) FROM ' USING (.*)$') AS definition"
    " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid"
    " {here} AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_constraint s WHERE s.conindid = x.indexrelid)"
)
_INTERVENTIONS = _in_schema(
    "SELECT c.relname, 'trigger' AS kind, t.tgname AS name FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " {here} AND NOT t.tgisinternal UNION ALL"
    " SELECT c.relname, 'rule', r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class {here}"
    " AND c.relkind = 'r'"
)

_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "p": "partitioned table", "S": "sequence"}

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def check_schema(connection: Connection) -> None:
    """Check that a ledger has exactly the tables, columns, constraints and indexes of this release.

    Raises:
        LedgerSchemaError: if one is missing, changed or additional, or if there is a trigger, a rule, a view or a
            policy; the message names it and says what was expected.
    """
    found = _found(connection)
    for name, parts in expected().items():
        if name not in found:
            raise _differs(f"{name} is missing; expected {_text(parts)}")
        if found[name] != parts:
            missing, added = _text(parts - found[name]), _text(found[name] - parts)
            raise _differs(f"{name} has {added or 'nothing'} where {missing or 'nothing'} is expected")


def _found(connection: Connection) -> Mapping[str, Set[str]]:
    found: dict[str, set[str]] = {}
    for row in connection.execute(_OBJECTS):
        if row.kind != "r" or row.relname not in expected():
            raise _differs(f"there is a {_KINDS.get(row.kind, 'table')} {row.relname}, which is not part of the schema")
        odd = {"a row security policy": row.policies, "a parent or child table": row.inherits}
        odd["no write-ahead log"] = row.persistence != "p"
        if told := next((name for name, is_so in odd.items() if is_so), None):
            raise _differs(f"table {row.relname} has {told}; expected none of it")
        found[row.relname] = set()
    for row in connection.execute(_INTERVENTIONS):
        raise _differs(f"there is a {row.kind} {row.name} on {row.relname}; expected none")
    for row in connection.execute(_COLUMNS):
        found[row.relname].add(_column(row))
    for row in connection.execute(_CONSTRAINTS):
        found[row.relname].add(row.definition)
    for row in connection.execute(_INDEXES):
        invalid = "" if row.valid else "invalid "
        found[row.relname].add(f"{invalid}{'unique ' * row.indisunique}index {row.name} {row.definition}")
    return found


def _column(row: Any) -> str:
    collation = f" collate {row.collname}" if row.collname not in {None, "default"} else ""
    value = ""
    if row.value is not None:
        value = f" generated {row.generated} as {row.value}" if row.generated else f" default {row.value}"
    required = " not null" * row.required
    return f"column {row.attname} {row.type}{collation}{required}{' identity' * bool(row.identity)}{value}"


@cache
def expected() -> Mapping[str, Set[str]]:
    """Return the required content of each table, by its name: a text for each column, constraint and index."""
    return {table.name: frozenset(_expected(table)) for table in metadata.sorted_tables}


def _expected(table: Table) -> Iterator[str]:
    for column in table.columns:
        yield _expected_column(column)
    for constraint in table.constraints:
        yield _expected_constraint(constraint)
    for index in table.indexes:
        yield f"{'unique ' * bool(index.unique)}index {index.name} btree ({_names(index.columns)})"


def _expected_column(column: Column[Any]) -> str:
    type_ = str(column.type.compile(_DIALECT)).partition(" COLLATE")
    name, collation = type_[0].lower(), " collate C" if type_[1] else ""
    if name.startswith("bytea") or name == "float":
        name = "bytea"
    return f"column {column.name} {name}{collation}{' not null' * (not column.nullable)}"


def _expected_constraint(constraint: Constraint) -> str:
    match constraint:
        case PrimaryKeyConstraint():
            return f"PRIMARY KEY ({_names(constraint.columns)})"
        case UniqueConstraint():
            return f"UNIQUE ({_names(constraint.columns)})"
        case ForeignKeyConstraint():
            target = constraint.elements[0].column
            return f"FOREIGN KEY ({_names(constraint.columns)}) REFERENCES {target.table.name}({target.name})"
        case CheckConstraint():
            return f"CHECK (({constraint.sqltext}))"
        case _:
            raise TypeError(f"{constraint!r}; expected a constraint that this check knows")


def _names(columns: Any) -> str:
    return ", ".join(column.name for column in columns)


def _text(parts: Set[str]) -> str:
    return "; ".join(sorted(parts))


def _differs(what: str) -> LedgerSchemaError:
    return LedgerSchemaError(f"the database is not a ledger of this release: {what}")
