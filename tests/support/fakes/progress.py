"""A progress for tests: what it is told, it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class RecordedProgress:
    """A progress that remembers what it was told.

    Attributes:
        steps: name, total and how much was done of each that ended.
    """

    def __init__(self) -> None:
        self.steps = list[tuple[str, int, int]]()

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """One step."""
        done = list[int]()
        yield done.append
        self.steps.append((name, total, sum(done)))
