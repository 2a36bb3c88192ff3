"""SQL expressions for a value in the canonical form of an entry, which is JSON, in either database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Text, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement


class _CanonicalText(FunctionElement[str]):
    """The text at a path; its arguments are the column and the names of the path."""

    inherit_cache = True
    name = "canonical_text"
    type = Text()


class _CanonicalNumber(FunctionElement[float]):
    """The number at a path; its arguments are those of `_CanonicalText`."""

    inherit_cache = True
    name = "canonical_number"
    type = Double()


def canonical_text(canonical: ColumnElement[str], *path: str) -> ColumnElement[str]:
    """Return the text at a path of names in a canonical form; null where it has none.

    Args:
        canonical: the column with the form.
        path: names of members, of letters and underscores only: they become part of the statement.

    Raises:
        ValueError: if a name has other characters.
    """
    return _CanonicalText(canonical, *_names(path))


def canonical_number(canonical: ColumnElement[str], *path: str) -> ColumnElement[float]:
    """Return the number at a path of names in a canonical form; see `canonical_text`."""
    return _CanonicalNumber(canonical, *_names(path))


def _names(path: tuple[str, ...]) -> list[ColumnElement[Any]]:
    if not all(name.replace("_", "").isalpha() and name.isascii() for name in path):
        raise ValueError(f"{path!r}; expected names of letters and underscores")
    return [literal_column(name) for name in path]


def _parts(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> tuple[str, list[str]]:
    column, *names = element.clauses
    return compiler.process(column, **options), [str(name) for name in names]


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


@compiles(_CanonicalText, "sqlite")
@compiles(_CanonicalNumber, "sqlite")
def _on_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    column, names = _parts(element, compiler, options)
    return f"json_extract({column}, '$.{'.'.join(names)}')"


@compiles(_CanonicalText, "postgresql")
def _text_on_postgresql(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    column, names = _parts(element, compiler, options)
    # json rather than jsonb, which converts the whole value first.
    return f"json_extract_path_text(({column})::json, {_quoted(names)})"


@compiles(_CanonicalNumber, "postgresql")
def _number_on_postgresql(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"({_text_on_postgresql(element, compiler, **options)})::double precision"
