"""Progress bars on stderr; stdout is reserved for the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ProgressBars:
    """Shows one bar per step if stderr is a terminal, else nothing.

    Implements dejavu_trainer.execution.progress.Progress.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        """Shows a bar of `total` units; fills it on success, even if fewer units were reported."""
        task = self._bars.add_task(name, total=total)

        def advance(steps: int) -> None:
            self._bars.advance(task, steps)

        yield advance
        self._bars.update(task, completed=total)
