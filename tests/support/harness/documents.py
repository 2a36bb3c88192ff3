"""The documents as tests read them: their fenced blocks and their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
"""The project's folder."""

PLACE = "127.0.0.1:50051"
"""Where the documents have their server."""


class Block(NamedTuple):
    """A fenced block: its language, what else stands beside that, and its text."""

    language: str
    about: str
    text: str


def blocks(document: str, language: str) -> list[Block]:
    """The fenced blocks of one language, in order."""
    text = (ROOT / document).read_text()
    found = re.findall(r"^```(\S+) *([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in map(Block._make, found) if block.language == language]


def commands(document: str) -> list[str]:
    """What stands after a dollar sign in the consoles of a document; a line that ends in a backslash goes on."""
    console = "".join(block.text for block in blocks(document, "console"))
    return re.findall(r"^\$ ((?:.*\\\n)*.*)", console, re.MULTILINE)


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins like this, without backquotes."""
    lines = (ROOT / document).read_text().splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith(f"| {heading} |")]
    table = list[list[str]]()
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")])
    return table
