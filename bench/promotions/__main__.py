"""Entry point of `python -m bench.promotions --rounds 100`; see run.py."""

from __future__ import annotations

import argparse
import sys

from bench.promotions.judge import PromotionResult
from bench.promotions.run import run
from bench.rounds import program


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(rounds=100)
    parser.add_argument("--servers", type=int, default=2, help="number of servers with one ledger")
    parser.add_argument("--postgres", action="store_true", help="keep the ledger in PostgreSQL")


def _report(result: PromotionResult, seconds: float) -> str:
    changes = ", ".join(f"{number} {name}" for name, number in result.rounds.items())
    return "\n".join(
        [
            f"{changes} in {seconds:.0f} s",
            f"{result.calls:,} calls answered, {result.entries:,} entries, {result.messages:,} messages on streams",
            f"changes took {result.median_change_ms:.0f} ms (median), {result.slowest_change_ms:.0f} ms at most",
            f"named calls {result.median_call_ms:.1f} ms (median), {result.slowest_seconds * 1000:.0f} ms at most",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds; return the exit code."""
    return program(
        arguments,
        print,
        description="promotes and rolls back models while clients publish and subscribe",
        run=run,
        report=_report,
        add_options=_add_options,
    )


if __name__ == "__main__":
    sys.exit(main())
