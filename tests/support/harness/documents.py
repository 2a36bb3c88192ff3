"""Reads fenced blocks, commands and tables from the documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
"""The project folder."""

PLACE = "127.0.0.1:50051"
"""The server address used in the documents."""


class Block(NamedTuple):
    """A fenced block: its language, the rest of the info string, and its text."""

    language: str
    about: str
    text: str


def blocks(document: str, language: str) -> list[Block]:
    """Return the fenced blocks of one language, in order."""
    text = (ROOT / document).read_text()
    matches = re.findall(r"^```(\S+) *([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in map(Block._make, matches) if block.language == language]


def commands(document: str) -> list[str]:
    """Return the commands after a dollar sign in console blocks, with backslash continuation lines."""
    console = "".join(block.text for block in blocks(document, "console"))
    return re.findall(r"^\$ ((?:.*\\\n)*.*)", console, re.MULTILINE)


def rows(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose header starts with `heading`, without backquotes."""
    lines = (ROOT / document).read_text().splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith(f"| {heading} |")]
    table = list[list[str]]()
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")])
    return table
