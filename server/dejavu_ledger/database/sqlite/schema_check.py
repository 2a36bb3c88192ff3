"""Compares the objects of a SQLite database with the schema of this release: none may be missing or additional.

A trigger can drop or alter entries, a view or a changed table can hide them, and without its unique index a table takes
rows twice. SQLite's stored statements are compared word by word. The order
of columns, the names of constraints, and quotes around names of the schema are ignored.
Statements are split into words as in SQLite, since a quoted name or type can contain the text of a constraint, such as
NOT NULL.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from dejavu_ledger.database.schema import metadata
from dejavu_ledger.errors import LedgerSchemaError

_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"

_OF_SQLITE = {"sqlite_sequence", "sqlite_stat1", "sqlite_stat2", "sqlite_stat3", "sqlite_stat4"}
"""Tables that SQLite makes for itself, for instance in ANALYZE."""

_WORD = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|[^\s\w]""", re.ASCII)
"""Texts, names in quotes of any kind, words, other characters. As in SQLite, only ASCII characters count as spaces or
have upper and lower case."""

_Parts = Counter[str]
"""The content of a statement: columns and constraints of a table, the whole statement of an index; normalized."""


def check_schema(connection: Connection) -> None:
    """Check that a ledger has exactly the tables, columns, constraints and indexes of this release.

    Raises:
        LedgerSchemaError: if one is missing, changed or additional, or if there is a trigger or a view; the message
            names it and says what was expected.
    """
    expected = _expected()
    found: dict[str, _Parts] = {}
    for kind, name, table, sql in connection.exec_driver_sql(_OBJECTS):
        if kind in {"trigger", "view"}:
            on = f" on {table}" if kind == "trigger" else ""
            raise _differs(f"there is a {kind} {name}{on}; expected none")
        if (kind == "table" and name in _OF_SQLITE) or (kind == "index" and sql is None):
            continue  # an index without a statement belongs to a constraint of its table
        if name not in expected:
            raise _differs(f"there is {_article(kind)} {kind} {name}, which is not part of the schema")
        found[name] = _parts(str(sql))
    for name, parts in expected.items():
        if name not in found:
            raise _differs(f"{name} is missing; expected {_text(parts)}")
        if found[name] != parts:
            missing, added = _text(parts - found[name]), _text(found[name] - parts)
            raise _differs(f"{name} has {added or 'nothing'} where {missing or 'nothing'} is expected")


def _differs(what: str) -> LedgerSchemaError:
    return LedgerSchemaError(f"the database is not a ledger of this release: {what}")


def _article(kind: str) -> str:
    return "an" if kind == "index" else "a"


def _text(parts: _Parts) -> str:
    return "; ".join(sorted(parts.elements()))


@cache
def _expected() -> dict[str, _Parts]:
    """Return the required content of the statement of each table and index, by name."""
    dialect = sqlite.dialect()
    tables = metadata.sorted_tables
    statements = {table.name: str(CreateTable(table).compile(dialect=dialect)) for table in tables}
    indexes = {str(index.name): index for table in tables for index in table.indexes}
    statements |= {name: str(CreateIndex(index).compile(dialect=dialect)) for name, index in indexes.items()}
    return {name: _parts(sql) for name, sql in statements.items()}


def _parts(sql: str) -> _Parts:
    """Return the content of a CREATE TABLE or CREATE INDEX statement, without the names of constraints."""
    words = [_normalized(word) for word in _WORD.findall(sql)]
    if words[:2] != ["create", "table"]:
        return Counter([" ".join(words)])
    return Counter(_columns_and_constraints(words))


def _normalized(word: str) -> str:
    """Lower-case a word, or unquote a name of the schema; return anything else in quotes unchanged."""
    if word[0] in '"`[':
        name = word[1:-1].lower()
        return name if name in _names() else word
    return word.lower() if word.isascii() and not word.startswith("'") else word


@cache
def _names() -> frozenset[str]:
    """Return the names of all tables, columns and indexes."""
    tables = metadata.sorted_tables
    columns = (column.name for table in tables for column in table.columns)
    indexes = (str(index.name) for table in tables for index in table.indexes)
    return frozenset([*(table.name for table in tables), *columns, *indexes])


def _columns_and_constraints(words: list[str]) -> Iterator[str]:
    depth, part = 0, list[str]()
    for word in words:
        depth += (word == "(") - (word == ")")
        if (word == "(" and depth == 1) or (word == ")" and depth == 0) or (word == "," and depth == 1):
            yield " ".join(part[2:] if part[:1] == ["constraint"] else part)
            part = []
        else:
            part.append(word)
    if part:  # options of the table
        yield " ".join(part)
