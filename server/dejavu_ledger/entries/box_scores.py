"""Box scores of outcomes in the ledger: as rows of whole numbers in entries, and as text in tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dejavu_feed.box_score import PlayerLine, box_score_faults


def rows_of(lines: Sequence[PlayerLine]) -> list[list[int]]:
    """Return the lines of a box score as rows: player, home, seconds, plus-minus, started."""
    return [list(map(int, line)) for line in lines]


def lines_of(rows: Iterable[object]) -> tuple[PlayerLine, ...]:
    """Return the lines of `rows_of`.

    Raises:
        ValueError: if they are not those of a box score.
    """
    lines = []
    for row in rows:
        if (
            not isinstance(row, list)
            or len(row) != len(PlayerLine._fields)
            or any(type(each) is not int for each in row)
        ):
            raise ValueError(f"{row!r}; expected a row of a box score: {len(PlayerLine._fields)} whole numbers")
        player, home, seconds, plus_minus, started = row
        lines.append(PlayerLine(player, bool(home), seconds, plus_minus, bool(started)))
    for name, found, expected in box_score_faults(lines):
        raise ValueError(f"{name}: {found}; expected {expected}")
    return tuple(lines)


def text_of(lines: Sequence[PlayerLine]) -> str | None:
    """Return the lines of a box score as text; None for none."""
    return json.dumps(rows_of(lines), separators=(",", ":")) if lines else None


def parse(text: str | None) -> tuple[PlayerLine, ...]:
    """Return the lines of `text_of`.

    Raises:
        ValueError: if the text is not a box score.
    """
    return () if text is None else lines_of(json.loads(text))
