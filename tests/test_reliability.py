"""Each promise of docs/reliability.md names a test that exists, or a program that measures it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs/reliability.md").read_text().partition("## Figures")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| **"))
]


def functions_of(file: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_promise_has_one_test_or_a_program_that_measures_it() -> None:
    assert len(ROWS) > 35
    for row in ROWS:
        promise, *found = [*row, ""][:3]
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", found[0])
        programs = re.findall(r"`(bench[\w.]+)`", row[-1])
        assert len(named) == 1 or (not named and programs), promise
        for file, test in named:
            assert test in functions_of(file), f"{promise}: {file} has no {test}"
        for program in programs:
            path = ROOT / program.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), program
