"""Named calls with the ledger in SQLite and in PostgreSQL."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from bench.latency import pinned_to
from bench.performance.measuring import Contest, alternate, callers_process, new_order, plural, timed_calls
from bench.performance.samples import Run
from bench.performance.sections.section import CALLS, Section
from bench.performance.servers import dejavu
from bench.performance.setting import Setting
from tests.support.processes.postgres import own_server

NAME = "databases"
SQLITE, SQLITE_POWER, POSTGRESQL = "SQLite", "SQLite, --durability power", "PostgreSQL"


def postgres_url(setting: Setting, stack: ExitStack) -> str:
    """Start a PostgreSQL that syncs its commits to disk, on the CPU of servers; return the URL of a new database.

    Raises:
        pytest.skip.Exception: if it is not installed.
        pytest.fail.Exception: if it is not, and DEJAVU_CI=1.
    """
    with pinned_to(set(setting.servers)):
        server = stack.enter_context(own_server(fsync="on", shared_buffers="128MB"))
    return server.url(server.new_database())


def measure(setting: Setting, run: Run) -> None:
    """Measure named calls on both databases."""
    with ExitStack() as stack:
        callers = stack.enter_context(callers_process(setting))
        servers = {
            SQLITE: stack.enter_context(dejavu(setting)),
            SQLITE_POWER: stack.enter_context(dejavu(setting, "--durability", "power")),
        }
        try:
            url = postgres_url(setting, stack)
        except pytest.skip.Exception as missing:
            run.skipped["PostgreSQL"] = str(missing)
        else:
            servers[POSTGRESQL] = stack.enter_context(dejavu(setting, ledger=url))
        contests = []
        for number, count in enumerate((1, 16)):
            calls = setting.size(300 if count == 1 else 600, 2 * count)
            for contender, server in servers.items():
                order = new_order(server, count, calls, named=True, first=number * 1_000_000)
                contests.append(Contest(plural(count, "caller"), contender, timed_calls(callers, server, order)))
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="SQLite and PostgreSQL",
    text=(
        "Forecasts of named games, recorded before they are answered. In SQLite a commit survives the death of"
        " processes (the default) or, with `--durability power`, a loss of power, as it does in PostgreSQL with fsync."
        " PostgreSQL runs on the same CPU as the server; its CPU time is not included in the column."
    ),
    columns=CALLS,
    measure=measure,
    base=SQLITE,
)
