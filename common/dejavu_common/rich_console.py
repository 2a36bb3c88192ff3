"""rich's console and panel for untrusted texts: without markup, and with invisible characters escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from dejavu_common.shown_text import unescaped, visible


class Console(rich.console.Console):  # noqa: TID251
    """A console that prints texts as they are: `[bold]` and `:smile:` mean nothing, control characters are `visible`.

    Args:
        stderr: whether to print on standard error.
        options: further options of rich.console.Console.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, **options)

    @property
    def file(self) -> IO[str]:
        """The file that it writes to, unescaped: the console's own escape sequences must reach the terminal."""
        return unescaped(super().file)

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to print. It is escaped here already, so that tables measure the displayed text."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything that is printed; only rich's own control codes stay unescaped."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that rich is handling, so that the program handles it; rich would exit with 1."""
        raise  # noqa: PLE0704


def titled_panel(content: RenderableType, title: str) -> Panel:
    """Return a panel as wide as its content. rich would read a title of plain text as markup."""
    return Panel(content, title=Text(visible(title, line=True)), title_align="left", expand=False)
