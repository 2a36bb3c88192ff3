"""How a training run tells how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows stages of work, one after the other."""

    def step(self, name: str, total: int) -> AbstractContextManager[Callable[[int], object]]:
        """A stage of `total` steps; inside, the function that it yields is called with how many more are done."""
        ...


class NoProgress:
    """A progress that shows nothing."""

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """Does nothing with what it is told."""
        del name, total
        yield lambda _: None
