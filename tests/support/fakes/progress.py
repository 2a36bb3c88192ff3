"""A progress for tests that stores all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dejavu_trainer.execution import Progress


class RecordedProgress(Progress):
    """A progress that stores its steps.

    Attributes:
        steps: name, total and completed amount of each finished step.
    """

    def __init__(self) -> None:
        self.steps = list[tuple[str, int, int]]()

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """Runs one step."""
        done = list[int]()
        yield done.append
        self.steps.append((name, total, sum(done)))
