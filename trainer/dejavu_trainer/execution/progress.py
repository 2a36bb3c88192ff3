"""Progress reporting, independent of how it is displayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], object]
"""Called with the number of units that were just completed."""


def ignore(_: int) -> None:
    """Shows no progress."""


class Progress(Protocol):
    """Reports the progress of consecutive steps of a run."""

    def step(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Begins a step of `total` units; the yielded function is called with the number of units just completed."""
        ...


class NoProgress:
    """Progress that shows nothing."""

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        """Ignores all updates."""
        del name, total
        yield ignore
