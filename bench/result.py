"""The command line that benchmarks share: options, a run in a temporary folder, its result, its failed checks."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvloop


class Result(Protocol):
    """Result of a run, a dataclass."""

    def breaches(self) -> list[str]:
        """Return the failed checks: names of its attributes, or sentences."""


ResultT = TypeVar("ResultT", bound=Result)


def program(
    arguments: Sequence[str] | None,
    show: Callable[[str], None],
    *,
    description: str | None,
    run: Callable[[argparse.Namespace, Path], ResultT | Coroutine[Any, Any, ResultT]],
    report: Callable[[ResultT, float], str],
    add_options: Callable[[argparse.ArgumentParser], object],
) -> int:
    """Parse the options, run in a temporary folder and print the result.

    Args:
        arguments: command-line arguments; None: those of the process.
        show: prints the result, as JSON or as text.
        description: text for --help.
        run: runs the benchmark, given the options and the folder.
        report: formats the result as text, given the total seconds.
        add_options: adds options of this program; all have --seed and --json.

    Returns:
        The exit code: 1 if a check failed; failed checks are printed on standard error.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="seed of all random choices")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser)
    options = parser.parse_args(arguments)
    logging.getLogger("dejavu_client").setLevel(logging.CRITICAL)  # it logs lost streams and slow calls
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ran = run(options, Path(folder))
        result: ResultT = uvloop.run(ran) if asyncio.iscoroutine(ran) else ran
    show(json.dumps(asdict(result)) if options.json else report(result, time.monotonic() - start))  # type: ignore[call-overload]
    for each in result.breaches():
        print(
            f"broken: {each}: {getattr(result, each)}" if hasattr(result, each) else f"broken: {each}", file=sys.stderr
        )
    return 1 if result.breaches() else 0


def show_round(number: int, rounds: int) -> None:
    """Show on standard error which round of a run begins."""
    print(f"\rround {number + 1} of {rounds}", end="\n" if number + 1 == rounds else "", file=sys.stderr, flush=True)
