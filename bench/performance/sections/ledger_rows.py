"""Cost of calls by the number of forecasts in the ledger."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.performance.measuring import Contest, alternate, callers_process, new_order, timed_calls
from bench.performance.processes.callers import READ
from bench.performance.samples import Run
from bench.performance.sections.section import CALLS, Section
from bench.performance.servers import dejavu
from bench.performance.setting import Setting
from bench.record_ledger import fill

NAME = "ledger"
RECORD, RECORD_TOGETHER, READ_ONE = "named, 1 caller", "named, 16 callers", "GetPrediction, 1 caller"
SIZES = (1000, 10_000, 100_000)
QUICK = (1000, 2500)


def contender_of(forecasts: int) -> str:
    """Return the contender of a minimum number of forecasts in the ledger."""
    return f"{forecasts:,} forecasts"


def measure(setting: Setting, run: Run) -> None:
    """Measure calls on ledgers of different sizes."""
    with ExitStack() as stack:
        callers = stack.enter_context(callers_process(setting))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contests = []
        for size in setting.sizes(SIZES, QUICK):
            filled = fill(folder / f"{size}.sqlite3", size)
            server = stack.enter_context(dejavu(setting, ledger=filled.url))
            calls = setting.size(300, 8)
            orders = {
                RECORD: new_order(server, 1, calls, named=True),
                RECORD_TOGETHER: new_order(server, 16, setting.size(600, 32), named=True, first=1_000_000),
                READ_ONE: new_order(server, 1, calls, protocol=READ, games=filled.games),
            }
            contests += [
                Contest(case, contender_of(size), timed_calls(callers, server, order)) for case, order in orders.items()
            ]
        alternate(setting, run, NAME, sorted(contests, key=lambda each: list(orders).index(each.case)))


SECTION = Section(
    name=NAME,
    title="Rows of the ledger",
    text=(
        "Ledgers in SQLite that are filled with evenings of games, each with forecasts of every minute. A call records"
        " a forecast of a new game, or reads the newest forecast of a game. `python -m bench.record` measures lists,"
        " and a ledger of a million forecasts."
    ),
    columns=CALLS,
    measure=measure,
    base=contender_of(SIZES[0]),
)
