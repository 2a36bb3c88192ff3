"""Measures calls, batches, streams, the page, start and memory in one run, compared with an echo and MLServer.

    python -m bench.performance                            # everything; writes docs/performance.md and .json
    python -m bench.performance --only calls batches       # some sections; prints the report
    python -m bench.performance --quick                    # a few calls of everything, to see that it works
    python -m bench.performance --from docs/performance.json    # writes the report of earlier samples again

Run it from the project's folder, on a quiet machine of two CPUs or more. MLServer is measured if its environment exists
(`make bench` makes it). Exits with 1 if a call fails, but never because a target is missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.performance.measuring import MLSERVER, CallsFailed, Setting
from bench.performance.report import SECTIONS, render
from bench.performance.samples import Run, commit_line, machine_line, mlserver_version, versions_line
from bench.servers import ROOT

REPORT = ROOT / "docs" / "performance.md"
MLSERVER_PYTHON = ROOT / ".venv-mlserver" / "bin" / "python"
ROUNDS = 5
"""Rounds of a report that compares with targets."""


class MlserverMissing(Exception):
    """MLServer is not installed, but CI must measure it."""


def measure(setting: Setting, sections: Sequence[str], run: Run) -> None:
    """Measure sections, one after the other; print the duration of each on standard error.

    Raises:
        CallsFailed: if a call failed.
    """
    start = time.monotonic()
    for name in sections:
        before = time.monotonic()
        SECTIONS[name].measure(setting, run)
        run.sections.append(name)
        print(f"{name}: {time.monotonic() - before:.0f} s", file=sys.stderr, flush=True)
    run.seconds = round(time.monotonic() - start, 1)


def installed_mlserver(wanted: str, run: Run) -> Path | None:
    """Return the Python that has MLServer; without one, add to the run the reason why MLServer is left out.

    Raises:
        MlserverMissing: if it is required and missing, and DEJAVU_CI=1.
    """
    if wanted == "off":
        run.skipped[MLSERVER] = "`--mlserver off`"
        return None
    if found := mlserver_version(Path(wanted)):
        run.versions = versions_line(found)
        return Path(wanted)
    if os.environ.get("DEJAVU_CI") == "1":
        raise MlserverMissing(f"{wanted} has no MLServer, and CI must measure it")
    run.skipped[MLSERVER] = "it is not installed (`make bench` installs it from the package index)"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write or print the report; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench.performance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="SECTION", choices=SECTIONS, help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="make a few calls only: shows that everything works")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, samples beside it")
    parser.add_argument("--from", dest="samples", type=Path, metavar="FILE", help="render samples, measure nothing")
    parser.add_argument("--mlserver", default=str(MLSERVER_PYTHON), metavar="PYTHON|off", help="a Python with MLServer")
    options = parser.parse_args(arguments)
    out: Path | None = options.out
    if options.samples is not None:
        run = Run.load(options.samples)
        out = out or options.samples.with_suffix(".md")
    else:
        if options.only is None and not options.quick:
            out = out or REPORT
        try:
            run = _measured(options, sys.argv[1:] if arguments is None else arguments)
        except (CallsFailed, MlserverMissing) as error:
            print(error, file=sys.stderr)
            return 1
        if out is not None:
            run.save(out.with_suffix(".json"))
    if out is None:
        print(render(run))
    else:
        out.write_text(render(run))
        print(f"written: {out}")
    return 0


def _measured(options: argparse.Namespace, arguments: Sequence[str]) -> Run:
    rounds = 1 if options.quick else ROUNDS
    run = Run(
        machine=machine_line(),
        versions=versions_line(""),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit_line(),
        command=shlex.join(["python", "-m", "bench.performance", *arguments]),
        rounds=rounds,
        quick=options.quick,
    )
    mlserver = installed_mlserver(options.mlserver, run)
    measure(Setting(rounds, options.quick, mlserver), options.only or list(SECTIONS), run)
    return run


if __name__ == "__main__":
    sys.exit(main())
