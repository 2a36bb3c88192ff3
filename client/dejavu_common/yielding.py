"""Work on many rows, in turns with the other tasks of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

MESSAGES_PER_TURN: Final = 32
"""Messages of a batch to convert before yielding to other calls."""

TURNS: Final = 8
"""Turns of the event loop to yield for, about as many as a call takes. An empty one takes a microsecond."""

_T = TypeVar("_T")


async def map_yielding(work: Callable[..., _T], *columns: Sequence[Any], per_turn: int = MESSAGES_PER_TURN) -> list[_T]:
    """Works like `map`, but yields to other calls: work on the messages of many games takes some milliseconds.

    Args:
        work: what to do for each row.
        columns: its arguments.
        per_turn: rows before yielding.
    """
    results = []
    for index, values in enumerate(zip(*columns, strict=True), 1):
        results.append(work(*values))
        if index % per_turn == 0:
            for _ in range(TURNS):
                await asyncio.sleep(0)
    return results
