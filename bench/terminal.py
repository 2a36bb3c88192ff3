"""Makes the README's animated SVG: the demo's evening in a terminal.

Run with `python -m bench.terminal docs/images/evening.svg` from the project's folder.
"""

from __future__ import annotations

import html
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char

COLUMNS, ROWS = 112, 24
"""Size of the terminal."""

WIDTH, HEIGHT = 7.4, 17
"""Size of a character, in pixels."""

EVERY_SECONDS = 1.2
"""Time between two frames in the terminal."""

SHOWN_SECONDS, LAST_SECONDS = 0.4, 6.0
"""How long the picture shows each frame, and the last one."""

COLORS = {
    "default": "#d4d4d4",
    "black": "#000000",
    "red": "#f07178",
    "green": "#9ece6a",
    "brown": "#e0af68",  # pyte's name of yellow
    "blue": "#7aa2f7",
    "magenta": "#bb9af7",
    "cyan": "#7dcfff",
    "white": "#ffffff",
}

Frame = tuple[str, ...]
"""The rows of a screen, each as tspans of SVG."""


def frames(command: Sequence[str], every: float) -> Iterator[Frame]:
    """Run a command in a terminal; yield its screen at an interval, and at its end."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    terminal, inner = pty.openpty()
    termios.tcsetwinsize(inner, (ROWS, COLUMNS))
    variables = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=variables, start_new_session=True):
        os.close(inner)
        due = time.monotonic() + every
        while output := _read(terminal, due):
            stream.feed(output)
            if time.monotonic() >= due:
                due += every
                yield _frame(screen)
        os.close(terminal)
    yield _frame(screen)


def _read(terminal: int, due: float) -> bytes:
    """Return the output of a program until a time, at least a NUL; empty once it has ended."""
    if not select.select([terminal], [], [], max(due - time.monotonic(), 0))[0]:
        return b"\0"
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux's end of a terminal
        return b""


def _frame(screen: pyte.Screen) -> Frame:
    return tuple(_row([screen.buffer[row][column] for column in range(COLUMNS)]) for row in range(ROWS))


def _row(characters: Sequence[Char]) -> str:
    """Return a row as tspans, one for each run of characters of one style; empty for blanks."""
    if all(character.data == " " for character in characters):
        return ""
    return "".join(_run(style, [*run]) for style, run in groupby(characters, key=lambda each: (each.fg, each.bold)))


def _run(style: tuple[str, bool], run: Sequence[Char]) -> str:
    color, bold = style
    fill = COLORS.get(color, f"#{color}")
    weight = ' font-weight="bold"' if bold else ""
    text = html.escape("".join(character.data for character in run))
    return f'<tspan fill="{fill}"{weight}>{text}</tspan>' if text.strip() else f"<tspan>{text}</tspan>"


def picture(shown: Sequence[Frame]) -> str:
    """Return an SVG that plays frames in a loop, or shows only the last one if the viewer prefers reduced motion."""
    rows = 1 + max(number for frame in shown for number, row in enumerate(frame) if row)
    width, height = COLUMNS * WIDTH + 24, rows * HEIGHT + 24
    names = {row: f"r{number}" for number, row in enumerate(dict.fromkeys(row for frame in shown for row in frame))}
    length = (len(shown) - 1) * SHOWN_SECONDS + LAST_SECONDS
    steps = "".join(
        f"{number * SHOWN_SECONDS / length:.4%} {{ transform: translateY({-number * height}px) }}\n"
        for number in range(len(shown))
    )
    texts = "\n".join(
        f'<text id="{name}" textLength="{COLUMNS * WIDTH:g}">{row}</text>' for row, name in names.items() if row
    )
    uses = "\n".join(
        f'<use href="#{names[row]}" x="12" y="{number * height + 12 + (line + 0.75) * HEIGHT:g}"/>'
        for number, frame in enumerate(shown)
        for line, row in enumerate(frame)
        if row
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}">
<style>
text {{ font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }}
#film {{ transform: translateY({-(len(shown) - 1) * height}px) }}
@media (prefers-reduced-motion: no-preference) {{ #film {{ animation: film {length:g}s step-end infinite }} }}
@keyframes film {{
{steps}}}
</style>
<rect width="{width:g}" height="{height}" rx="8" fill="#16161e"/>
<defs>
{texts}
</defs>
<g id="film">
{uses}
</g>
</svg>
"""


def main(file: Path) -> None:
    """Make the picture."""
    demo = frames([sys.executable, "-m", "dejavu_cli", "demo"], EVERY_SECONDS)
    table = [frame for frame in demo if any("home wins" in row for row in frame)]
    file.write_text(picture([frame for frame, _ in groupby(table)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
