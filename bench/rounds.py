"""Command line of `bench.kills`, `bench.restarts` and `bench.promotions`: runs rounds and prints the results."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from bench.result import Result

ResultT = TypeVar("ResultT", bound=Result)


def program(
    arguments: Sequence[str] | None,
    show: Callable[[str], None],
    *,
    description: str,
    run: Callable[[argparse.Namespace, Path], Coroutine[Any, Any, ResultT]],
    report: Callable[[ResultT, float], str],
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> int:
    """Parse the options, run the rounds in a temporary folder and print the results.

    Args:
        arguments: command-line arguments; None: those of the process.
        show: prints the results, as JSON or as text.
        description: text for --help.
        run: runs the rounds.
        report: formats the results as text, given the total seconds.
        add_options: adds options of this program.

    Returns:
        The exit code: 1 if a check failed; failed checks are printed on standard error.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="seed of the games and of all other random choices")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser)
    options = parser.parse_args(arguments)
    logging.getLogger("dejavu_client").setLevel(logging.CRITICAL)  # it logs every lost stream
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = uvloop.run(run(options, Path(folder)))
    if not options.json:
        print(file=sys.stderr)
    show(json.dumps(asdict(result)) if options.json else report(result, time.monotonic() - start))
    for name in result.breaches():
        print(f"broken: {name}: {getattr(result, name)}", file=sys.stderr)
    return 1 if result.breaches() else 0
