"""The command line that benchmarks share: options, a run in a temporary folder, its result, its failed checks."""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import uvloop


@dataclass
class Result:
    """Result of a run."""

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = ()
    """Attributes that are 0 or empty unless a promise is broken."""

    def breaches(self) -> list[str]:
        """Return the failed checks: names of attributes, or sentences."""
        return [name for name in self.MUST_BE_EMPTY if getattr(self, name)]

    def report(self) -> str:
        """Return the result as text: a line for each attribute; of durations, median and maximum."""
        return "\n".join(f"{name:22} {_shown(name, value)}" for name, value in vars(self).items())


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list) and value and name.endswith("_seconds"):
        return f"{statistics.median(value):.2f} (median), {max(value):.2f} (longest) of {len(value)}"
    if isinstance(value, dict):
        return ", ".join(f"{number} {kind}" for kind, number in value.items())
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else f"{value}"


def program(
    description: str | None,
    run: Callable[[argparse.Namespace, Path], Result | Coroutine[Any, Any, Result]],
    **defaults: float | bool | str | list[float],
) -> int:
    """Parse the options, run in a temporary folder, and print the result, with failed checks on standard error.

    Args:
        description: text for --help.
        run: runs the benchmark, given the options and the folder.
        defaults: name of an option → its default; a flag if that is False. All programs have --seed.

    Returns:
        The exit code: 1 if a check failed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"seed": 1, **defaults}.items():
        option = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(option, action="store_true")
        elif isinstance(default, list):
            parser.add_argument(option, type=float, nargs="*", default=default, help=f"default: {default}")
        else:
            parser.add_argument(option, type=type(default), default=default, help="default: %(default)s")
    options = parser.parse_args()
    logging.getLogger("dejavu_client").setLevel(logging.CRITICAL)  # it logs lost streams and slow calls
    with tempfile.TemporaryDirectory() as folder:
        ran = run(options, Path(folder))
        result = uvloop.run(ran) if asyncio.iscoroutine(ran) else ran
    assert isinstance(result, Result)
    print(result.report())
    for each in result.breaches():
        print(f"broken: {each}", file=sys.stderr)
    return 1 if result.breaches() else 0


def show_round(number: int, rounds: int) -> None:
    """Show on standard error which round of a run begins."""
    print(f"\rround {number + 1} of {rounds}", end="\n" if number + 1 == rounds else "", file=sys.stderr, flush=True)
