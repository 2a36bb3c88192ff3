"""Measures board, game and record with Lighthouse, as on a phone with a slow connection.

Run with `python -m bench.page.lighthouse --lighthouse DIR` from the project's folder, where DIR is one in which
`npm install lighthouse@12` was run; it needs Node and Debian's chromium. A server, a gateway and the browser share the
machine. 15 games are in play and 10 are over; all are forecast after every minute, for both horizons.

To imitate a phone, Lighthouse slows the processor down by a factor of 4, which is meant for a fast desktop computer
with a `benchmarkIndex` of 1500 to 2000. Here the factor is chosen from the index of the previous run such that this
machine is as fast as the same phone, as Lighthouse's documentation on throttling recommends. A run in which the machine
was faster or slower than in the previous one is repeated. Prints the median of the runs of each page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.builders.issued_forecasts import game
from tests.support.processes.browser import ARGUMENTS
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import spawned_server

from dejavu_client import FINAL, HALFTIME, DejavuClient, predict_request

PATTERN: Final = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11, 12, 10, 9, 13)
IN_PLAY, OVER = 15, 10
HOME, AWAY = ("ATL", "BKN", "BOS", "CHA", "CHI"), ("CLE", "DAL", "DEN", "DET", "GSW")

PHONE_INDEX: Final = 1750 / 4
"""`benchmarkIndex` of the phone: a fast desktop computer, of index 1500 to 2000, slowed down by a factor of 4."""

TOLERANCE: Final = 0.2
"""Accepted relative difference between the factor of a run and the factor that its own index requires."""

MOST_RUNS: Final = 10

SECONDS: Final = {"first-contentful-paint": "fcp", "largest-contentful-paint": "lcp", "speed-index": "speed_index"}
"""Audits in milliseconds, and the names under which they are printed in seconds."""


def record_games(target: str) -> str:
    """Record games in play and games that are over; return the id of one in play."""
    with DejavuClient(target, timeout=120.0) as client:
        for number in range(IN_PLAY + OVER):
            home, away = HOME[number % 5], AWAY[number // 5]
            course = [value * (1 if number % 2 else -1) + number % 5 - 2 for value in PATTERN]
            for minute in range(1, len(course) + 1):
                client.predict_batch(
                    [
                        predict_request(
                            course[:minute], game_id=game(number), horizon=horizon, home_team=home, away_team=away
                        )
                        for horizon in (HALFTIME, FINAL)
                    ]
                )
            if number >= IN_PLAY:
                client.report_outcome(game(number), course[-1] + number % 7 - 3, horizon=HALFTIME)
                client.report_outcome(game(number), course[-1] + number % 11 - 5, horizon=FINAL)
    return game(0)


@contextmanager
def page_of_games(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server and a gateway with games; yield the page's address and the id of a game in play."""
    with spawned_server("--workers", "1", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}") as server:
        shown = record_games(server.address)
        with spawned_gateway("--target", server.address, "--demo") as gateway:
            gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
            yield f"http://{gateway.address}", shown


def audit(lighthouse: Path, url: str, slowdown: float) -> dict[str, Any]:
    """Run Lighthouse on a page with its profile of a phone; return its report."""
    with tempfile.TemporaryDirectory(prefix="dejavu-lighthouse-") as folder:
        report = Path(folder) / "report.json"
        flags = " ".join(["--headless=new", *ARGUMENTS, f"--user-data-dir={folder}/profile"])
        command = ["node", str(lighthouse / "node_modules/lighthouse/cli/index.js"), url, "--quiet", "--output=json"]
        command += [f"--output-path={report}", f"--chrome-flags={flags}", "--only-categories=performance,accessibility"]
        command += [f"--throttling.cpuSlowdownMultiplier={slowdown:.2f}"]
        chromium = shutil.which("chromium") or "chromium"
        subprocess.run(command, check=True, timeout=300, env={**os.environ, "CHROME_PATH": chromium})
        result: dict[str, Any] = json.loads(report.read_text())
    return result


def figures_of(report: dict[str, Any]) -> dict[str, float]:
    """Return the scores (0 to 100) and the times (seconds; blocking: milliseconds) of a report."""
    audits = report["audits"]
    return {
        **{name: 100 * report["categories"][name]["score"] for name in ("performance", "accessibility")},
        **{name: audits[key]["numericValue"] / 1000 for key, name in SECONDS.items()},
        "blocking_ms": audits["total-blocking-time"]["numericValue"],
        "layout_shift": audits["cumulative-layout-shift"]["numericValue"],
        "benchmark_index": report["environment"]["benchmarkIndex"],
        "slowdown": report["configSettings"]["throttling"]["cpuSlowdownMultiplier"],
    }


def measure(lighthouse: Path, url: str, runs: int, slowdown: float | None) -> dict[str, float]:
    """Return the medians of the figures of several runs on a page.

    Args:
        lighthouse: folder in which Lighthouse is installed.
        url: the page.
        runs: number of runs.
        slowdown: factor by which the processor is slowed down; None: the calibrated one.
    """
    found: list[dict[str, float]] = []
    factor = slowdown or 1.0
    for _ in range(MOST_RUNS):
        figures = figures_of(audit(lighthouse, url, factor))
        right = slowdown or max(1.0, figures["benchmark_index"] / PHONE_INDEX)
        if abs(factor / right - 1) <= TOLERANCE:
            found.append(figures)
        if len(found) == runs:
            break
        factor = right  # the machine is as fast as it just was; if it is not, the run is repeated
    if not found:
        raise RuntimeError(f"in {MOST_RUNS} runs the machine never was as fast as in the one before")
    return {name: round(statistics.median(each[name] for each in found), 3) for name in found[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the pages; print one line of JSON for each."""
    parser = argparse.ArgumentParser(prog="bench.page.lighthouse", description=__doc__)
    parser.add_argument("--lighthouse", type=Path, required=True, help="folder with node_modules/lighthouse")
    parser.add_argument("--runs", type=int, default=3, help="runs for each page")
    parser.add_argument("--slowdown", type=float, help="slowdown of the processor, instead of the calibrated one")
    parser.add_argument("--url", help="address of a running page, instead of one with simulated games")
    parser.add_argument("--path", action="append", help="path to measure, instead of board, game and record")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dejavu-page-") as folder:
        if options.url:
            _report(options, options.url, options.path or ["/", "/record"])
        else:
            with page_of_games(Path(folder)) as (origin, shown):
                _report(options, origin, options.path or ["/", f"/game/{shown}", "/record"])
    return 0


def _report(options: argparse.Namespace, origin: str, paths: Sequence[str]) -> None:
    for path in paths:
        figures = measure(options.lighthouse, origin + path, options.runs, options.slowdown)
        print(json.dumps({"path": path, **figures}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
