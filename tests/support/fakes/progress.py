"""A progress for tests: what it is told, it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Bars:
    """A progress that remembers what it was told.

    Attributes:
        stages: name, total and how much was done of each that ended.
    """

    def __init__(self) -> None:
        self.stages = list[tuple[str, int, int]]()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """One stage."""
        done = list[int]()
        yield done.append
        self.stages.append((name, total, sum(done)))
