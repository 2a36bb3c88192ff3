"""Measures start and memory of a server, by its number of workers.

Run with `python -m bench.start` from the project's folder; `--tree` compares source trees, such as a worktree of
another commit, in alternation. For each number of workers it starts servers, on a ledger that exists, and prints

- the time until the first worker serves and until all do, and the CPU time of all processes until then;
- the memory (PSS) of the largest worker, of all workers, of the fork server, of the supervisor, and of all of them,
  five seconds and 200 forecasts later;
- the time from the death of a worker (kill -9) until its successor serves, and the successor's CPU time until then.

PSS divides memory that processes share by their number. It can only be read for processes of the same user.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from bench.start.measure import measure, prepare, summary

COLUMNS = {
    "workers": ("workers", "d"),
    "first_seconds": ("first s", ".2f"),
    "seconds": ("all s", ".2f"),
    "cpu_seconds": ("CPU s", ".2f"),
    "worker_pss_mib": ("worker", ".0f"),
    "workers_pss_mib": ("workers", ".0f"),
    "spare_pss_mib": ("spare", ".0f"),
    "supervisor_pss_mib": ("superv.", ".0f"),
    "server_pss_mib": ("all MiB", ".0f"),
    "replaced_seconds": ("repl. s", ".2f"),
    "replaced_cpu_seconds": ("its CPU", ".2f"),
}


def main() -> None:
    """Parse the options, measure and print."""
    parser = argparse.ArgumentParser(description="Start and memory of a server, by its number of workers.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3, help="starts for each number of workers and tree")
    parser.add_argument("--calls", type=int, default=200, help="forecasts before memory is measured")
    parser.add_argument("--tree", type=Path, action="append", help="source tree to measure; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _run(options, Path(folder))


def _run(options: argparse.Namespace, folder: Path) -> None:
    trees: list[Path | None] = options.tree or [None]
    ledgers = [folder / f"ledger-{number}" for number in range(len(trees))]
    for ledger, tree in zip(ledgers, trees, strict=True):
        ledger.mkdir()
        prepare(ledger, tree)
    for workers in options.workers:
        starts = [
            (tree, measure(workers, ledger, tree=tree, calls=options.calls))
            for _ in range(options.rounds)
            for ledger, tree in zip(ledgers, trees, strict=True)
        ]
        for tree in trees:
            figures = summary([start for of, start in starts if of == tree])
            if options.json:
                print(json.dumps({"tree": str(tree or ""), **figures}))
                continue
            if workers == options.workers[0] and tree == trees[0]:
                print("load", *(f"{each:.1f}" for each in os.getloadavg()), file=sys.stderr)
                print("".join(f"{title:>9}" for title, _ in COLUMNS.values()), " tree")
            shown = "".join(f"{figures[name]:>9{form}}" for name, (_, form) in COLUMNS.items())
            print(shown, f" {tree or ''}", flush=True)


if __name__ == "__main__":
    main()
