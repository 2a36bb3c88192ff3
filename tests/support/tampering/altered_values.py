"""The values of a ledger, and alterations of one of them: every column of every table, every field of every entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from tests.support.tampering.tampering import TABLES, Specimen

Steps = tuple[str | int, ...]


class Cell(NamedTuple):
    """A value of a row."""

    table: str
    column: str
    rowid: int
    value: Any


class Field(NamedTuple):
    """A value of an entry.

    Attributes:
        path: the names that lead to it in the payload, or its own in the entry; of a list, the first item is taken.
        sequence: the entry.
        steps: keys and indexes that lead to it.
        value: the value.
        others: values of the same field in other entries of the kind.
    """

    path: str
    sequence: int
    steps: Steps
    value: Any
    others: list[Any]


def cells(specimen: Specimen) -> Iterator[Cell]:
    """Yield a value of each column: of the last row in which it is not null."""
    for table in TABLES:
        for column in specimen.rows[table][0]:
            row = next((each for each in reversed(specimen.rows[table]) if each[column] is not None), None)
            if row is not None and column != "rowid_":
                yield Cell(table, column, row["rowid_"], row[column])


def fields(entries: list[tuple[int, dict[str, Any]]], kind: str) -> Iterator[Field]:
    """Yield a value of each field of a kind of entry: of the last entry in which it is not empty."""
    found = dict[str, Field]()
    for sequence, entry in entries:
        for steps, value in _leaves(entry) if entry["kind"] == kind else ():
            path = ".".join(str(step) for step in steps if not isinstance(step, int)).removeprefix("payload.")
            others = [*found[path].others, found[path].value] if path in found else []
            if value not in (None, []):
                found[path] = Field(path, sequence, steps, value, others)
    yield from found.values()


def _leaves(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, (*steps, key))
    elif isinstance(value, list) and value:
        yield from _leaves(value[0], (*steps, 0))
    else:
        yield steps, value


def put(entry: dict[str, Any], steps: Steps, value: Any) -> None:
    """Put a value into an entry."""
    place: Any = entry
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value


def altered(value: Any, others: Sequence[Any] = ()) -> list[Any]:
    """Return values of the same type in place of a value: first those that other rows have, then those near it."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 0.25, value - 0.25]
    if isinstance(value, bytes):
        return [bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 128])]
    seen = [each for each in dict.fromkeys([*others, *_NAMES.get(value, ())]) if each != value]
    return seen or [value[:-1] + ("1" if value[-1:] != "1" else "2")]


_NAMES: Final = {
    **dict.fromkeys(("home", "away"), ("home", "away")),
    **dict.fromkeys(("above", "below"), ("above", "below")),
    **dict.fromkeys(("lead", "total"), ("lead", "total")),
    **dict.fromkeys(("halftime", "final"), ("halftime", "final")),
    **dict.fromkeys(("low", "moderate", "high"), ("low", "high")),
    "later_minute": ("time",),
    "feed": ("caller",),
}
"""Name in an entry → names that may stand in its place."""
