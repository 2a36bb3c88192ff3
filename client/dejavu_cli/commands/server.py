"""`dejavu health` and `stats`: health and statistics of servers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Annotated, Final, Literal

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dejavu.ops.v1 import cache_service_pb2 as pb
from dejavu.ops.v1.operations_service_pb2 import (
    GetServiceStatsResponse,
    MethodStats,
    StatsWindow,
    WorkerInfo,
)
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_cli.errors import FAILED, NO_ANSWER
from dejavu_cli.options import Call, flag, message_lines, option, refuse
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, name_value_rows
from dejavu_client import formatting as fmt
from dejavu_client.errors import DeadlineExceededError, NotFoundError, UnavailableError, UnimplementedError
from dejavu_client.transport.servers import LEDGER, HealthStatus, parse_servers
from dejavu_common.rich_console import Console, titled_panel

_BROKEN_LEDGER = (
    "; forecasts with a game id fail, perhaps streams and the record too, what-ifs do not: see `dejavu doctor`"
)


_WINDOWS: Final = {"1": 60, "5": 300, "15": 900, "all": 0}
"""Lengths of the windows of the statistics, in seconds."""


def health(call: Call, service: Annotated[str, typer.Argument()] = "") -> None:
    """Check whether the server accepts calls: exit code 0 if it is SERVING, otherwise 1.

    A server with a broken ledger still serves what-ifs.
    The ledger's health is shown too, but does not change the exit code.
    `dejavu health dejavu.ledger` checks only the ledger.
    Checks each of several servers: exit code 0 if one is SERVING.

    Args:
        service: Full name of a service, for example dejavu.v1.PredictionService, or dejavu.ledger; the whole server
            by default.
    """
    servers = _targets(call)
    serving = [_print_health(call, service, each, one_of=len(servers)) for each in servers]
    if not any(serving):
        raise typer.Exit(FAILED)


def _print_health(call: Call, service: str, target: str, *, one_of: int) -> bool:
    """Print the health of one server, with its address if it is one of several; return whether it is SERVING."""
    hint, ledger = "", None
    with call.connect(target) as client:
        try:
            status = client.health(service).name
            if not service and status == HealthStatus.SERVING.name:
                with suppress(NotFoundError):  # the server does not report it
                    ledger = client.health(LEDGER).name
        except NotFoundError:
            status = "SERVICE_UNKNOWN"
        except UnavailableError as error:
            status, hint = "UNREACHABLE", error.message
        except UnimplementedError:
            hint = f"{target} answers no health checks: is it a proxy? `dejavu doctor` asks otherwise"
            status = "UNKNOWN"
    if call.as_json:
        record = {"status": status, "service": service, "target": target}
        typer.echo(json.dumps(record if service else {**record, "ledger": ledger}))
    else:
        typer.echo(status if one_of == 1 else f"{target}: {status}")
        if ledger is not None:
            typer.echo(f"ledger: {ledger}{_BROKEN_LEDGER if ledger == HealthStatus.NOT_SERVING.name else ''}")
    if hint:
        typer.echo(hint, err=True)
    return status == HealthStatus.SERVING.name


def stats(
    ctx: typer.Context,
    call: Call,
    minutes: Annotated[Literal["1", "5", "15", "all"], flag("--minutes")] = "5",
    watch: Annotated[bool, flag("--watch")] = False,
    interval: Annotated[float, option("SECONDS", min=0.1, max=3600)] = 2.0,
    cache: Annotated[bool, flag("--cache")] = False,
    clear_cache: Annotated[bool, flag("--clear-cache")] = False,
    warm_cache: Annotated[str, option("FILE")] = "",
) -> None:
    """Show what a server did: forecasts, calls, errors, durations, coverage, lag; summed over its workers.

    Several servers are shown as a table. Needs no metrics; with tokens, the scope read.
    Each worker has a cache of its own: warming goes on over new connections until all workers have the answers.

    Args:
        minutes: Show the calls of the last 1, 5 or 15 minutes, or of all since the start.
        watch: Show them live, until Ctrl-C.
        interval: With --watch: time between two looks at the servers.
        cache: Show the cache of what-ifs.
        clear_cache: Empty that cache. Needs the scope admin.
        warm_cache: Fill it with what-ifs, one a line as JSON: {"pattern": [0, 2, 4], "horizon": "HORIZON_FINAL"}; -
            reads them. Needs the scope admin.
    """
    if not watch:
        refuse(ctx, "needs --watch", "interval")
    if cache or clear_cache or warm_cache:
        if cache + clear_cache + bool(warm_cache) > 1:
            raise typer.BadParameter("give only one of them", param_hint="--cache, --clear-cache and --warm-cache")
        refuse(ctx, "not with an option of the cache", "minutes", "watch")
        serve_cache(call, clear=clear_cache, warm=warm_cache)
        return
    _show_statistics(call, _WINDOWS[minutes], interval if watch else None)


def _show_statistics(call: Call, seconds: int, interval: float | None) -> None:
    """Show the statistics of the servers, with the calls of a window of time; with an interval, until Ctrl-C.

    Raises:
        typer.Exit: if no server answers, unless a terminal shows it.
    """
    targets, before = _targets(call), dict[str, GetServiceStatsResponse]()
    console = Console(highlight=False)
    drawn = interval is not None and console.is_terminal and not call.as_json
    with Live(console=console, screen=True, auto_refresh=False) if drawn else nullcontext() as live:
        while True:
            answered, troubles = _ask(call, targets)
            if call.as_json:
                for target, found in answered.items():
                    print_json(found, target=target)
            elif live is not None:
                live.update(stats_view(answered, troubles, seconds, before), refresh=True)
            else:
                console.print(stats_view(answered, troubles, seconds, before))
            if not answered and live is None:
                for target, trouble in troubles.items():
                    typer.echo(f"Error: {target}: {trouble}", err=True)
                raise typer.Exit(NO_ANSWER)
            if interval is None:
                return
            before = answered
            time.sleep(interval)


def _targets(call: Call) -> list[str]:
    """Return the addresses of the servers of the target, in its order."""
    call.client_options()  # raises an error if the list is invalid
    return [each.target for each in parse_servers(call.target).addresses]


def _ask(call: Call, targets: Iterable[str]) -> tuple[dict[str, GetServiceStatsResponse], dict[str, str]]:
    """Return the statistics of the servers by target, and of those that did not answer the reason."""
    answered, troubles = dict[str, GetServiceStatsResponse](), dict[str, str]()
    for target in targets:
        try:
            with call.connect(target) as client:
                answered[target] = client.get_service_stats()
        except (UnavailableError, DeadlineExceededError) as error:
            troubles[target] = error.message
    return answered, troubles


_MOST_REQUESTS: Final = 1000
"""Maximum number of requests in a call."""

_CONNECTIONS_A_WORKER: Final = 8
"""Maximum number of connections, per worker, to reach all workers: the kernel assigns connections at random."""


_OPTION: Final = "--warm-cache"


def serve_cache(call: Call, *, clear: bool, warm: str) -> None:
    """Show the cache of a server; or clear it; or warm it with the what-ifs of a file.

    Raises:
        typer.BadParameter: if a line of the file is no what-if.
        typer.Exit: if the file cannot be read, or some answers are not kept.
    """
    if warm:
        _warm(call, _what_ifs(warm))
        return
    with call.connect() as client:
        if clear:
            call.show(
                client.clear_cache(), lambda each: typer.echo(f"cleared: {fmt.pluralize(each.entries, 'answer')}")
            )
        else:
            call.show(client.get_cache_stats(), print_cache_stats)


def _what_ifs(file: str) -> list[PredictRequest]:
    """Read what-ifs; raise typer.BadParameter if a line is not a what-if, typer.Exit if the file cannot be read."""
    requests = []
    for number, request in message_lines(file, PredictRequest, _OPTION):
        if request.game_id:
            raise typer.BadParameter(f"line {number}: game_id is set; only what-ifs are kept", param_hint=_OPTION)
        requests.append(request)
    if not requests:
        raise typer.BadParameter(f"{file} has no requests", param_hint=_OPTION)
    return requests


def _warm(call: Call, requests: list[PredictRequest]) -> None:
    """Warm worker after worker until all have the answers; exit with 1 if some do not, or a request is refused."""
    computed = known = 0
    failures: dict[int, str] = {}
    reached: set[str] = set()
    workers = attempts = 1
    while len(reached) < workers and attempts <= _CONNECTIONS_A_WORKER * workers:
        attempts += 1
        with call.connect() as client:  # a new connection, which may reach any worker
            for start in range(0, len(requests), _MOST_REQUESTS):
                answer = client.warm_cache(requests[start : start + _MOST_REQUESTS])
                reached.add(answer.worker)
                computed, known = computed + answer.computed, known + answer.known
                failures |= {start + each.index: each.error.message for each in answer.failures}
            workers = max(1, client.get_cache_stats().workers)
    result = {"requests": len(requests), "failed": len(failures), "workers_warmed": len(reached), "workers": workers}
    if call.as_json:
        typer.echo(json.dumps({**result, "computed": computed, "known": known}))
    else:
        kept = fmt.pluralize(len(requests) - len(failures), "answer")
        typer.echo(f"{kept} kept by {len(reached)} of {fmt.pluralize(workers, 'worker')} ({computed} computed)")
    for index, message in sorted(failures.items()):
        typer.echo(f"request {index + 1}: {message}", err=True)
    if failures or len(reached) < workers:
        raise typer.Exit(FAILED)


_MEBIBYTE: Final = 1024 * 1024


def stats_view(
    answered: Mapping[str, GetServiceStatsResponse],
    troubles: Mapping[str, str],
    length_seconds: int,
    before: Mapping[str, GetServiceStatsResponse],
) -> RenderableType:
    """Return a view of the statistics: of one server in full, of several as a table.

    Args:
        answered: statistics by target.
        troubles: the other targets, with the reason why they did not answer.
        length_seconds: length of the window whose calls are shown, in seconds; 0: since the start.
        before: earlier statistics by target; CPU time is counted since then, by default since the start of each worker.
    """
    notes = [Text(f"{target}: {trouble}", style="bold red") for target, trouble in troubles.items()]
    if len(answered) + len(troubles) == 1:
        return Group(*(_server_view(*each, length_seconds, before.get(each[0])) for each in answered.items()), *notes)
    lost = [line for target, stats in answered.items() for line in _without_ledger(stats, f"{target}: ")]
    title = Text(_window_name(length_seconds), style="bold")
    return Group(title, _servers(answered, length_seconds), *lost, *notes)


def _server_view(
    target: str,
    stats: GetServiceStatsResponse,
    length_seconds: int,
    before: GetServiceStatsResponse | None,
) -> RenderableType:
    window = _window(stats.windows, length_seconds)
    errors = [
        (method.method.rpartition("/")[2], " · ".join(f"{each.code} {each.calls:,}" for each in method.errors))
        for method in window.methods
    ]
    covered = fmt.seconds_text(window.covered_seconds)
    return Group(
        *_lines(target, stats),
        Text(),
        _predictions(stats.windows),
        Text(f"\ncalls, {_window_name(length_seconds)} ({covered} of it)", style="bold"),
        ResponsiveTable(_METHODS, window.methods) if window.methods else Text("no calls", style="dim"),
        *(Text(f"{method}: {codes}") for method, codes in errors if codes),
        Text(),
        _workers(stats, before),
    )


def _lines(target: str, stats: GetServiceStatsResponse) -> Iterator[Text]:
    server, lag = stats.server, stats.ledger_lag
    versions = sorted({worker.version for worker in server.workers})
    yield Text.assemble(
        ("dejavu-server ", "bold"),
        (", ".join(versions), "bold"),
        f" at {target}",
        (f" · {server.server_id} · up {fmt.seconds_text(server.uptime_seconds)}", "dim"),
    )
    yield Text(
        f"{len(server.workers)} of {fmt.pluralize(server.configured_workers, 'worker')} · "
        f"{fmt.pluralize(stats.open_streams, 'stream')} · {stats.calls_in_flight:,} calls in progress",
        style="" if len(server.workers) >= server.configured_workers else "yellow",
    )
    age = time.time() - stats.sampled_time.ToNanoseconds() / 1e9
    if stats.HasField("sampled_time") and age > fmt.OLD_STATISTICS_SECONDS:
        yield Text(
            f"as of {fmt.seconds_text(age)} ago: the supervisor stands still, or the clocks differ", style="yellow"
        )
    behind = f"streams behind by {lag.entries:,}" + (f" ({fmt.seconds_text(lag.lag_seconds)})" if lag.entries else "")
    yield Text(f"{behind} · models behind by {lag.outcomes:,}")
    yield from _without_ledger(stats)
    for number, what in ((server.worker_deaths, "died"), (server.worker_hangs, "hung")):
        if number:
            yield Text(f"{fmt.pluralize(number, 'worker')} {what} since the start of the server", style="yellow")
    for feed in stats.feeds:
        data = f", data {fmt.seconds_text(feed.data_age_seconds)} old" if feed.HasField("data_age_seconds") else ""
        read = f"read {fmt.seconds_text(feed.read_age_seconds)} ago"
        by = f" by {feed.reported_by}" if feed.reported_by else ""
        yield Text(f"feed {feed.feed}{by}: {fmt.pluralize(feed.live_games, 'game')} in play{data}, {read}")
    for each in stats.coverage:
        yield Text(
            f"{fmt.horizon_label(each.horizon)}: {each.held:,} of {each.forecasts:,} intervals held, "
            f"{fmt.percent(each.coverage)}; expected {fmt.percent(each.nominal_coverage)} "
            f"({fmt.pluralize(each.games, 'game')} in {each.days} days)"
        )
    for window in stats.windows:
        if not window.length_seconds and window.HasField("cache"):
            looked_up = window.cache.hits + window.cache.misses
            yield Text(f"cache: {fmt.percent(window.cache.hit_rate)} of {looked_up:,} what-ifs since the start")


def _without_ledger(stats: GetServiceStatsResponse, prefix: str = "") -> Iterator[Text]:
    if number := stats.ledger_lag.workers_without:
        yield Text(f"{prefix}{fmt.pluralize(number, 'worker')} cannot record forecasts", style="bold red")


def _window(windows: Iterable[StatsWindow], length_seconds: int) -> StatsWindow:
    return next((each for each in windows if each.length_seconds == length_seconds), StatsWindow())


def _servers(answered: Mapping[str, GetServiceStatsResponse], length_seconds: int) -> RenderableType:
    rows = [(target, stats, _window(stats.windows, length_seconds)) for target, stats in answered.items()]
    columns: Sequence[Column[tuple[str, GetServiceStatsResponse, StatsWindow]]] = (
        Column("server", "left", 9, lambda row: row[0], width=18),
        Column("up", "right", 3, lambda row: fmt.seconds_text(row[1].server.uptime_seconds), width=7),
        Column("workers", "right", 6, lambda row: _serving(row[1]), width=7),
        Column("streams", "right", 4, lambda row: f"{row[1].open_streams:,}", width=7),
        Column("behind", "right", 5, lambda row: f"{row[1].ledger_lag.entries:,}", width=6),
        Column("forecasts", "right", 4, lambda row: f"{_forecasts(row[2]):,}", width=9),
        Column("calls", "right", 8, lambda row: f"{sum(each.calls for each in row[2].methods):,}", width=7),
        Column("failed", "right", 8, lambda row: _failed(row[2].methods), width=6),
    )
    return ResponsiveTable(columns, rows)


def _serving(stats: GetServiceStatsResponse) -> Text:
    serve, configured = len(stats.server.workers), stats.server.configured_workers
    return Text(f"{serve} of {configured}", style="yellow" if serve < configured else "")


def _forecasts(window: StatsWindow) -> int:
    return sum(each.what_ifs + each.recorded + each.already_recorded for each in window.predictions)


def _failed(methods: Iterable[MethodStats]) -> Text:
    failed = sum(sum(fmt.failed_calls(method).values()) for method in methods)
    return Text(f"{failed:,}", style="red" if failed else "dim")


def _predictions(windows: Iterable[StatsWindow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("forecasts")
    rows: dict[str, list[str]] = {}
    for window in windows:
        table.add_column(_window_name(window.length_seconds), justify="right")
        for counts in window.predictions:
            horizon = fmt.horizon_label(counts.horizon)
            rows.setdefault(f"{horizon}, what-ifs", []).append(f"{counts.what_ifs:,}")
            rows.setdefault(f"{horizon}, recorded", []).append(f"{counts.recorded:,}")
            rows.setdefault(f"{horizon}, known", []).append(f"{counts.already_recorded:,}")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _window_name(length_seconds: float) -> str:
    return f"last {length_seconds / 60:g} min" if length_seconds else "since the start"


def _workers(stats: GetServiceStatsResponse, before: GetServiceStatsResponse | None) -> RenderableType:
    now = stats.sampled_time.ToNanoseconds() / 1e9

    def seconds_up(worker: WorkerInfo) -> float:
        return now - worker.start_time.ToNanoseconds() / 1e9

    def cpu(worker: WorkerInfo) -> str:
        elapsed, used = seconds_up(worker), worker.cpu_seconds
        if before is not None and before.sampled_time != stats.sampled_time:
            for each in before.server.workers:
                if each.name == worker.name:
                    elapsed = now - before.sampled_time.ToNanoseconds() / 1e9
                    used -= each.cpu_seconds
        return fmt.percent(max(0.0, used / elapsed if elapsed > 0 else 0.0))

    columns: Sequence[Column[WorkerInfo]] = (
        Column("worker", "left", 9, lambda worker: worker.name, width=18),
        Column("CPU", "right", 8, cpu, width=6),
        Column("memory", "right", 7, lambda each: f"{each.resident_bytes / _MEBIBYTE:,.0f} MiB", width=8),
        Column("up", "right", 6, lambda worker: fmt.seconds_text(max(0.0, seconds_up(worker))), width=8),
        Column("version", "right", 5, lambda worker: worker.version, width=8),
    )
    return ResponsiveTable(columns, stats.server.workers)


def _quantile(share: float) -> Callable[[MethodStats], str]:
    """Return the cell of a quantile of the latency of a method."""

    def cell(method: MethodStats) -> str:
        for each in method.latency.quantiles:
            if f"{each.share:g}" == f"{share:g}":
                return ("" if each.HasField("upper_seconds") else ">") + fmt.seconds_text(each.seconds)
        return ""

    return cell


_METHODS: Final[Sequence[Column[MethodStats]]] = (
    Column("method", "left", 9, lambda method: method.method.rpartition("/")[2], width=18),
    Column("calls", "right", 8, lambda method: f"{method.calls:,}", width=7),
    Column("failed", "right", 7, lambda method: _failed([method]), width=6),
    Column("mean", "right", 4, lambda method: fmt.seconds_text(method.latency.mean_seconds), of="latency", width=8),
    Column("p50", "right", 5, _quantile(0.5), width=8),
    Column("p95", "right", 3, _quantile(0.95), width=8),
    Column("p99", "right", 6, _quantile(0.99), width=8),
)

_BACKENDS: Final = {
    pb.CACHE_BACKEND_OFF: "off",
    pb.CACHE_BACKEND_MEMORY: "memory of each worker",
    pb.CACHE_BACKEND_REDIS: "memory of each worker, and Redis",
}

_SHARED: Final = {
    pb.SHARED_CACHE_STATE_USED: "used",
    pb.SHARED_CACHE_STATE_FAILED: "not used: it fails or is slow; see the server's log",
}


def print_cache_stats(stats: pb.GetCacheStatsResponse) -> None:
    """Print the statistics of a cache."""
    rows = name_value_rows()
    rows.add_row("answers are kept in", _BACKENDS.get(stats.backend, "unknown (newer server)"))
    if stats.backend != pb.CACHE_BACKEND_OFF:
        rows.add_row("workers", f"{stats.workers}")
        rows.add_row("answers", f"{stats.entries:,}")
        rows.add_row("memory", f"{stats.memory_bytes / _MEBIBYTE:.1f} of {stats.max_memory_bytes / _MEBIBYTE:.0f} MiB")
        rows.add_row("kept for at most", f"{stats.max_age_seconds:g} s")
        rows.add_row("hits", f"{stats.hits:,}")
        rows.add_row("misses", f"{stats.misses:,}")
        rows.add_row("hit rate", fmt.percent(stats.hit_rate) if stats.HasField("hit_rate") else "–")
        rows.add_row("evictions", f"{stats.evictions:,}")
        if stats.shared_state in _SHARED:
            rows.add_row("Redis", _SHARED[stats.shared_state])
    Console().print(titled_panel(rows, "cache of what-ifs"))
