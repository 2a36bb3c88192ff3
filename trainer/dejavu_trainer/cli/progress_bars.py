"""Progress bars on stderr; stdout is reserved for the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from dejavu_trainer.execution.progress import Advance


class Bars:
    """Bars that are shown while the context is open, if stderr is a terminal.

    Args:
        console: the console to show them on.
        description: format of a bar's name.
        columns: more columns.
        options: options of rich.progress.Progress.
    """

    def __init__(self, console: Console, description: str, *columns: ProgressColumn, **options: Any) -> None:
        self._bars = Progress(
            TextColumn(description),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            *columns,
            console=console,
            disable=not console.is_terminal,
            **options,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class ProgressBars(Bars):
    """Shows one bar per step; implements dejavu_trainer.execution.progress.Progress."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True), "{task.description:<32}")

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        """Shows a bar of `total` units; fills it on success, even if fewer units were reported."""
        task = self._bars.add_task(name, total=total)

        def advance(steps: int) -> None:
            self._bars.advance(task, steps)

        yield advance
        self._bars.update(task, completed=total)
