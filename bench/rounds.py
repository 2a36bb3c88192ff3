"""The command line that `bench.kills` and `bench.restarts` share: rounds of faults, and the figures they give."""

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
) -> int:
    """Reads the options, has the rounds run in a folder of their own, and shows the figures.

    Args:
        arguments: the options; None for those of the command line.
        show: is given the figures, as JSON or for people.
        description: for --help.
        run: the rounds.
        report: the figures for people, given the seconds that all took.

    Returns:
        The exit code: 1 if a promise broke, which is then told on standard error.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the games, and of whatever else is drawn")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    logging.getLogger("dejavu_client").setLevel(logging.CRITICAL)  # it tells of every lost stream
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = uvloop.run(run(options, Path(folder)))
    if not options.json:
        print(file=sys.stderr)
    show(json.dumps(asdict(result)) if options.json else report(result, time.monotonic() - start))
    for name in result.breaches():
        print(f"broken: {name}: {getattr(result, name)}", file=sys.stderr)
    return 1 if result.breaches() else 0
