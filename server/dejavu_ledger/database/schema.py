"""Tables of the ledger: those of schema.sql, which says what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

Dialect: TypeAlias = Literal["sqlite", "postgresql"]

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
