"""Calls timed by `bench.callers`: single ones, batches, by workers, by rows of the ledger, databases and access."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from bench.callers import BATCH, COLUMNS, INFER, PREDICT, READ, Order, Timings, call
from bench.performance.measuring import (
    CALLS,
    DEJAVU,
    ECHO,
    MLSERVER,
    CallsFailed,
    Contest,
    Section,
    Setting,
    alternate,
    mlserver,
    percentile,
    plural,
    timed_calls,
    what_if_response,
)
from bench.performance.samples import Run
from bench.servers import Server, dejavu_server, echo_server, pinned_to, process_on
from tests.support.builders.issued_forecasts import game, issued
from tests.support.fakes.certificates import Authority
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.processes.postgres import own_server

from dejavu_common.clock import utc_now
from dejavu_ledger import Ledger
from dejavu_models.types import Horizon
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

WHAT_IF, EXPLAINED, NAMED = f"{DEJAVU}: what-if", f"{DEJAVU}: explained", f"{DEJAVU}: named"
AS_COLUMNS = "Dejavu, columns"
RECORD, RECORD_TOGETHER, READ_ONE = "named, 1 caller", "named, 16 callers", "GetPrediction, 1 caller"
SQLITE, SQLITE_POWER, POSTGRESQL = "SQLite", "SQLite, --durability power", "PostgreSQL"
PLAIN, TLS, TOKEN, JWT = "plain text", "TLS", "TLS and token", "TLS and JWT"

ALONE, TOGETHER = 1000, 3200
"""Number of calls in a sample, for one caller and for several. A sample takes at least half a second: after another
contender's turn, the first calls find cold caches.
"""

CALLERS = 16

GAMES_A_CASE = 1_000_000
"""Number of game ids reserved for each case."""

FORECASTS = 2000
"""Number of forecasts per round in each case of batches, except for small ones."""


MOMENTS = [(horizon, minute) for horizon in Horizon for minute in range(1, horizon.last_slot + 1)]
"""What is forecast of each game of a filled ledger."""


@contextmanager
def contenders(setting: Setting, *options: str) -> Iterator[tuple[Executor, dict[str, Server]]]:
    """Run a process of callers, a `dejavu-server` of one worker, the echo and, if the setting has one, MLServer."""
    with ExitStack() as stack:
        callers = stack.enter_context(process_on(setting.callers))
        server = stack.enter_context(dejavu_server(setting.servers, *options))
        plain = stack.enter_context(echo_server(setting.servers, what_if_response(server)))
        found = {ECHO: plain, DEJAVU: server}
        if setting.mlserver:
            found[MLSERVER] = stack.enter_context(mlserver(setting, server))
        yield callers, found


def measure_single(setting: Setting, run: Run) -> None:
    """Measure single calls."""
    # By default a worker refuses a 65th concurrent call. 64 callers can cause one: a caller may call again before
    # the worker has counted its previous call out.
    with contenders(setting, "--max-in-flight", "128") as (callers, servers):
        contests = []
        for number, count in enumerate(setting.sizes((1, 16, 64), (1, 4))):
            what_if = Order("", count, setting.size(ALONE if count == 1 else TOGETHER, 4 * count))
            orders = {
                ECHO: (ECHO, what_if),
                WHAT_IF: (DEJAVU, what_if),
                EXPLAINED: (DEJAVU, replace(what_if, explained=True)),
                NAMED: (DEJAVU, replace(what_if, named=True, first=number * GAMES_A_CASE)),
                MLSERVER: (MLSERVER, replace(what_if, method=INFER)),
            }
            for contender, (server, order) in orders.items():
                if server in servers:
                    take = timed_calls(callers, servers[server], order)
                    contests.append(Contest(plural(count, "caller"), contender, take))
        alternate(setting, run, SINGLE.name, contests)


def batch_case(size: int) -> str:
    """Return the case of a size of batches."""
    return f"batch of {size:,}"


def measure_batches(setting: Setting, run: Run) -> None:
    """Measure batches of 1 to 1,000 what-ifs."""
    methods = {ECHO: (ECHO, BATCH), DEJAVU: (DEJAVU, BATCH), AS_COLUMNS: (DEJAVU, COLUMNS), MLSERVER: (MLSERVER, INFER)}
    with contenders(setting) as (callers, servers):
        contests = []
        for size in setting.sizes((1, 10, 50, 100, 1000), (1, 50, 1000)):
            calls = setting.size(min(200, max(FORECASTS // size, 3)), 2)
            for contender, (server, method) in methods.items():
                if server in servers:
                    take = timed_calls(callers, servers[server], Order("", 1, calls, method=method, batch=size))
                    contests.append(Contest(batch_case(size), contender, take))
        alternate(setting, run, BATCHES.name, contests)


def during(calls: Timings, others: Timings) -> list[float]:
    """Return the durations of the calls that overlap one of the others, in seconds."""
    spans = [(begun, begun + taken) for begun, taken in zip(others.begun, others.each, strict=True)]
    return [
        taken
        for begun, taken in zip(calls.begun, calls.each, strict=True)
        if any(begun < end and begun + taken > begin for begin, end in spans)
    ]


def waits(one: Executor, other: Executor, single: Order, batch: Order) -> Callable[[], dict[str, float]]:
    """Return a function that measures a caller alone, then together with batches.

    The requests are the same in all rounds: building new ones would delay the caller, which is on the same CPU.
    """

    def take() -> dict[str, float]:
        alone = one.submit(call, single).result()
        batches = other.submit(call, batch)
        beside, batched = one.submit(call, single).result(), batches.result()
        if failed := alone.failed + beside.failed + batched.failed:
            raise CallsFailed(f"{failed} calls to {single.address} failed beside batches")
        overlapping = during(beside, batched)
        if not overlapping:
            raise CallsFailed(f"no call to {single.address} overlapped a batch")
        p99, longest = percentile(alone.each, 99), max(overlapping)
        return {
            "alone_p99_ms": 1e3 * p99,
            "alone_longest_ms": 1e3 * max(alone.each),
            "longest_ms": 1e3 * longest,
            "batch_ms": 1e3 * max(batched.each),
            "longest_over_p99": longest / p99,
        }

    return take


def measure_beside(setting: Setting, run: Run) -> None:
    """Measure the waits of a caller of what-ifs while another one sends batches of 1,000."""
    with contenders(setting) as (one, servers), process_on(setting.callers) as other:
        contests = []
        for contender, server in servers.items():
            methods = (INFER, INFER) if contender == MLSERVER else (PREDICT, BATCH)
            single = Order(server.address, 1, setting.size(600, 200), methods[0])
            batch = Order(server.address, 1, setting.size(3, 1), methods[1], batch=setting.size(1000, 100))
            contests.append(Contest("batches of 1,000", contender, waits(one, other, single, batch)))
        alternate(setting, run, BESIDE.name, contests)


def measure_workers(setting: Setting, run: Run) -> None:
    """Measure one worker and two, on one CPU."""
    with ExitStack() as stack:
        callers = stack.enter_context(process_on(setting.callers))
        servers = {count: stack.enter_context(dejavu_server(setting.servers, workers=count)) for count in (1, 2)}
        answer = what_if_response(servers[1])
        echoes = {count: stack.enter_context(echo_server(setting.servers, answer, processes=count)) for count in (1, 2)}
        calls = setting.size(TOGETHER, 2 * CALLERS)
        contests = []
        for case, contenders in (("what-ifs", servers), ("named games", servers), ("echo", echoes)):
            for count, server in contenders.items():
                order = Order("", CALLERS, calls, named=case == "named games")
                contests.append(Contest(case, plural(count, "worker"), timed_calls(callers, server, order)))
        alternate(setting, run, WORKERS.name, contests)


async def fill(url: str, forecasts: int) -> None:
    """Record forecasts of every minute of some games in a new ledger."""
    ledger = await Ledger.open(url)
    for first in range(0, forecasts, FORECASTS):
        placed = [divmod(number, len(MOMENTS)) for number in range(first, min(first + FORECASTS, forecasts))]
        made = [(number, *MOMENTS[place]) for number, place in placed]
        await ledger.commit([issued(game(number), (1.0,) * minute, horizon=each) for number, each, minute in made])
    await ledger.close()


def measure_ledger_rows(setting: Setting, run: Run) -> None:
    """Measure calls on ledgers of different sizes."""
    with ExitStack() as stack:
        callers = stack.enter_context(process_on(setting.callers))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contests: dict[str, list[Contest]] = {RECORD: [], RECORD_TOGETHER: [], READ_ONE: []}
        for size in setting.sizes((1000, 10_000, 100_000), (1000, 2500)):
            url = f"sqlite:///{folder / f'{size}.sqlite3'}"
            asyncio.run(fill(url, size))
            server = stack.enter_context(dejavu_server(setting.servers, ledger=url))
            alone = Order("", 1, setting.size(300, 8))
            together = Order("", CALLERS, setting.size(600, 32), named=True, first=GAMES_A_CASE)
            for case, order in (
                (RECORD, replace(alone, named=True)),
                (RECORD_TOGETHER, together),
                (READ_ONE, replace(alone, method=READ, games=size // len(MOMENTS))),
            ):
                contests[case].append(Contest(case, f"{size:,} forecasts", timed_calls(callers, server, order)))
        alternate(setting, run, LEDGER_ROWS.name, [each for case in contests.values() for each in case])


def postgres_url(setting: Setting, stack: ExitStack) -> str:
    """Start a PostgreSQL that syncs its commits to disk, on the CPU of servers; return the URL of a new database.

    Raises:
        pytest.skip.Exception: if it is not installed.
        pytest.fail.Exception: if it is not, and DEJAVU_CI=1.
    """
    with pinned_to(setting.servers):
        server = stack.enter_context(own_server(fsync="on", shared_buffers="128MB"))
    return server.url(server.new_database())


def measure_databases(setting: Setting, run: Run) -> None:
    """Measure named calls on both databases."""
    with ExitStack() as stack:
        callers = stack.enter_context(process_on(setting.callers))
        servers = {
            SQLITE: stack.enter_context(dejavu_server(setting.servers)),
            SQLITE_POWER: stack.enter_context(dejavu_server(setting.servers, "--durability", "power")),
        }
        try:
            url = postgres_url(setting, stack)
        except pytest.skip.Exception as missing:
            run.skipped[POSTGRESQL] = str(missing)
        else:
            servers[POSTGRESQL] = stack.enter_context(dejavu_server(setting.servers, ledger=url))
        contests = []
        for number, count in enumerate((1, CALLERS)):
            calls = setting.size(300 if count == 1 else 600, 2 * count)
            for contender, server in servers.items():
                order = Order("", count, calls, named=True, first=number * GAMES_A_CASE)
                contests.append(Contest(plural(count, "caller"), contender, timed_calls(callers, server, order)))
        alternate(setting, run, DATABASES.name, contests)


def measure_access(setting: Setting, run: Run) -> None:
    """Measure what-ifs with TLS, tokens and JSON Web Tokens."""
    with ExitStack() as stack:
        callers = stack.enter_context(process_on(setting.callers))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority, tokens, issuer = Authority(folder), folder / "tokens.json", TokenIssuer(folder)
        pair = authority.issue("server")
        token = token_file.create(tokens, "bench", (AccessScope.PREDICT,), utc_now())
        tls = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
        jwks = ("--jwks", str(issuer.jwks), "--jwt-issuer", issuer.ISSUER, "--jwt-audience", issuer.AUDIENCE)
        cases: dict[str, tuple[tuple[str, ...], str]] = {
            PLAIN: ((), ""),
            TLS: (tls, ""),
            TOKEN: ((*tls, "--tokens", str(tokens)), token),
            JWT: ((*tls, *jwks), issuer.sign("bench", "predict", seconds=86_400)),
        }
        contests = []
        for contender, (options, given) in cases.items():
            server = stack.enter_context(dejavu_server(setting.servers, *options))
            trusted = "" if contender == PLAIN else str(authority.certificate)
            calls = setting.size(1500, 2 * CALLERS)
            order = Order("", CALLERS, calls, authority=trusted, token=given)
            contests.append(Contest(plural(CALLERS, "caller"), contender, timed_calls(callers, server, order)))
        alternate(setting, run, ACCESS.name, contests)


SINGLE = Section(
    name="calls",
    title="Single calls",
    text=(
        "One worker (`--max-in-flight 128`), at minute 18, a new pattern in every call; named games are recorded in"
        " SQLite before they are answered. The echo is a bare grpc.aio server that parses the same requests and"
        " returns a stored what-if. MLServer runs the same bundle with the same code, called by gRPC with patterns as"
        " FP64."
    ),
    columns=CALLS,
    measure=measure_single,
    base=ECHO,
)
BATCHES = Section(
    name="batches",
    title="Batches",
    text=(
        "One caller, one worker, what-ifs at minute 18. The echo returns as many stored results. Columns are"
        " PredictColumns. MLServer gets a batch as one tensor. A second of a core is a second of the server's CPU"
        " time."
    ),
    columns={
        "p50_ms": "p50, ms",
        "cpu_us": "server CPU, µs a call",
        "forecasts_a_core_second": "forecasts a second of a core",
    },
    measure=measure_batches,
    base=ECHO,
)
BESIDE = Section(
    name="beside",
    title="Callers beside batches",
    text=(
        "One caller of what-ifs, first alone, then while another process sends batches of 1,000, one after the other."
        " The longest wait is the slowest call that overlaps a batch; the longest alone shows pauses of the machine."
    ),
    columns={
        "alone_p99_ms": "p99 alone, ms",
        "alone_longest_ms": "longest alone, ms",
        "batch_ms": "longest batch, ms",
        "longest_ms": "longest wait beside, ms",
        "longest_over_p99": "longest wait over p99 alone",
    },
    measure=measure_beside,
)
WORKERS = Section(
    name="workers",
    title="Workers",
    text=(
        f"{CALLERS} callers, each with its own connection, servers on one CPU; its time counts all workers. Two"
        " processes of the echo share a port as workers do: the additional cost of two is gRPC's and the kernel's."
    ),
    columns=CALLS,
    measure=measure_workers,
    base="1 worker",
)
LEDGER_ROWS = Section(
    name="ledger",
    title="Rows of the ledger",
    text=(
        "Ledgers in SQLite with forecasts of every minute of their games. A call records a forecast of a new game, or"
        " reads the newest forecast of a game."
    ),
    columns=CALLS,
    measure=measure_ledger_rows,
    base="1,000 forecasts",
)
DATABASES = Section(
    name="databases",
    title="SQLite and PostgreSQL",
    text=(
        "Forecasts of named games, recorded before they are answered. In SQLite a commit survives the death of"
        " processes (the default) or, with `--durability power`, a loss of power, as in PostgreSQL with fsync."
        " PostgreSQL runs on the server's CPU; its CPU time is not included."
    ),
    columns=CALLS,
    measure=measure_databases,
    base=SQLITE,
)
ACCESS = Section(
    name="access",
    title="Access control",
    text="What-ifs with TLS, a random token and a JSON Web Token.",
    columns=CALLS,
    measure=measure_access,
    base=PLAIN,
)
