"""What a server did, as GetServiceStats tells it, for people: `dejavu stats`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rich.table import Table
from rich.text import Text

from dejavu.v1.operations_service_pb2 import (
    GetServiceStatsResponse,
    LatencyStats,
    MethodStats,
    RollingCoverage,
    ServerStats,
    StatsWindow,
)
from dejavu_client.formatting import horizon_label, percent, pluralize, seconds_text
from dejavu_client.output.responsive_table import Cells, ResponsiveColumn, ResponsiveTable
from dejavu_common.rich_console import Console

_METHODS: Final = (
    ResponsiveColumn("method", "left", 9, width=18),
    ResponsiveColumn("calls", "right", 8, width=7),
    ResponsiveColumn("failed", "right", 7, width=6),
    ResponsiveColumn("mean", "right", 4, width=8),
    ResponsiveColumn("0.5", "right", 5, "p50", width=8),
    ResponsiveColumn("0.95", "right", 3, "p95", width=8),
    ResponsiveColumn("0.99", "right", 6, "p99", width=8),
)

_SERVERS: Final = (
    ResponsiveColumn("server", "left", 9, width=18),
    ResponsiveColumn("ago", "right", 7, width=7),
    ResponsiveColumn("up", "right", 3, width=7),
    ResponsiveColumn("workers", "right", 6, width=7),
    ResponsiveColumn("streams", "right", 4, width=7),
    ResponsiveColumn("behind", "right", 5, width=6),
    ResponsiveColumn("forecasts", "right", 4, width=9),
    ResponsiveColumn("calls", "right", 8, width=7),
    ResponsiveColumn("failed", "right", 8, width=6),
)


def print_stats(stats: GetServiceStatsResponse, length_seconds: int) -> None:
    """Prints the statistics of a server, and of all servers of its ledger if there are others.

    Forecasts and calls are then those of all servers together.

    Args:
        stats: the statistics.
        length_seconds: length of the window whose calls are shown, in seconds; 0: since the start.
    """
    console = Console(highlight=False)
    for line in _lines(stats):
        console.print(line)
    together = len(stats.servers) > 1
    windows = stats.all_servers.windows if together else stats.windows
    of_all = f" of all {len(stats.servers)} servers" if together else ""
    window = _window(windows, length_seconds)
    if together:
        console.print(f"\nservers of the ledger, {_window_name(window)}", style="bold")
        console.print(ResponsiveTable(_SERVERS, [(_server(each, length_seconds), "") for each in stats.servers]))
    console.print()
    console.print(_predictions(windows, f"forecasts{of_all}"))
    covered = seconds_text(window.covered_seconds)
    console.print(f"\ncalls{of_all}, {_window_name(window)} ({covered} of it)", style="bold")
    rows = [(_cells(method), "") for method in window.methods]
    console.print(ResponsiveTable(_METHODS, rows) if rows else Text("no calls", style="dim"))
    for method in window.methods:
        if method.errors:
            codes = " · ".join(f"{error.code} {error.calls:,}" for error in method.errors)
            console.print(f"{method.method.rpartition('/')[2]}: {codes}", style="dim", soft_wrap=True)


def _lines(stats: GetServiceStatsResponse) -> Iterator[Text]:
    server, lag = stats.server, stats.ledger_lag
    versions = sorted({worker.version for worker in server.workers})
    yield Text.assemble(
        ("dejavu-server ", "bold"),
        (", ".join(versions), "bold"),
        (f" · {server.server_id} · up {seconds_text(server.uptime_seconds)}", "dim"),
    )
    yield Text(
        f"{len(server.workers)} of {pluralize(server.configured_workers, 'worker')} · "
        f"{pluralize(stats.open_streams, 'stream')} · {stats.calls_in_flight:,} calls in progress",
        style="" if len(server.workers) >= server.configured_workers else "yellow",
    )
    behind = f"streams behind by {lag.entries:,}" + (f" ({seconds_text(lag.seconds)})" if lag.entries else "")
    yield Text(f"{behind} · models behind by {lag.outcomes:,}")
    if lag.workers_without:
        yield Text(f"{pluralize(lag.workers_without, 'worker')} cannot record forecasts", style="bold red")
    if stats.others_missing:
        yield Text(f"other servers of the ledger are missing: {stats.others_missing}", style="bold red")
    for feed in stats.all_servers.feeds or stats.feeds:
        data = f", data {seconds_text(feed.data_age_seconds)} old" if feed.HasField("data_age_seconds") else ""
        read = f"read {seconds_text(feed.read_age_seconds)} ago"
        yield Text(f"feed {feed.feed}: {pluralize(feed.live_games, 'game')} in play{data}, {read}")
    for coverage in stats.coverage:
        yield Text(_coverage(coverage))
    for window in stats.windows:
        if not window.length_seconds and window.HasField("cache"):
            looked_up = window.cache.hits + window.cache.misses
            yield Text(f"cache: {percent(window.cache.hit_rate)} of {looked_up:,} what-ifs since the start")


def _coverage(coverage: RollingCoverage) -> str:
    return (
        f"{horizon_label(coverage.horizon)}: {coverage.held:,} of {coverage.forecasts:,} intervals held, "
        f"{percent(coverage.coverage)}; expected {percent(coverage.nominal_coverage)} "
        f"({pluralize(coverage.games, 'game')} in {coverage.days} days)"
    )


def _window(windows: Iterable[StatsWindow], length_seconds: int) -> StatsWindow:
    return next((each for each in windows if each.length_seconds == length_seconds), StatsWindow())


def _server(stats: ServerStats, length_seconds: int) -> Cells:
    window, server = _window(stats.windows, length_seconds), stats.server
    forecasts = sum(each.what_ifs + each.recorded + each.already_recorded for each in window.predictions)
    failed = sum(error.calls for method in window.methods for error in method.errors)
    short = len(server.workers) < server.configured_workers
    return {
        "server": Text(server.name),
        "ago": Text(seconds_text(stats.sampled_seconds_ago)),
        "up": Text(seconds_text(server.uptime_seconds)),
        "workers": Text(f"{len(server.workers)} of {server.configured_workers}", style="yellow" if short else ""),
        "streams": Text(f"{stats.open_streams:,}"),
        "behind": Text(f"{stats.ledger_lag.entries:,}"),
        "forecasts": Text(f"{forecasts:,}"),
        "calls": Text(f"{sum(method.calls for method in window.methods):,}"),
        "failed": Text(f"{failed:,}", style="red" if failed else "dim"),
    }


def _predictions(windows: Iterable[StatsWindow], title: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title)
    rows: dict[str, list[str]] = {}
    for window in windows:
        table.add_column(_window_name(window), justify="right")
        for counts in window.predictions:
            horizon = horizon_label(counts.horizon)
            rows.setdefault(f"{horizon}, what-ifs", []).append(f"{counts.what_ifs:,}")
            rows.setdefault(f"{horizon}, recorded", []).append(f"{counts.recorded:,}")
            rows.setdefault(f"{horizon}, known", []).append(f"{counts.already_recorded:,}")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _window_name(window: StatsWindow) -> str:
    return f"last {window.length_seconds // 60} min" if window.length_seconds else "since the start"


def _cells(method: MethodStats) -> Cells:
    failed = sum(error.calls for error in method.errors)
    cells = {
        "method": Text(method.method.rpartition("/")[2]),
        "calls": Text(f"{method.calls:,}"),
        "failed": Text(f"{failed:,}", style="red" if failed else "dim"),
    }
    if method.HasField("latency"):
        cells |= _latency(method.latency)
    return cells


def _latency(latency: LatencyStats) -> Cells:
    quantiles = {
        f"{each.share:g}": Text(("" if each.HasField("upper_seconds") else ">") + seconds_text(each.seconds))
        for each in latency.quantiles
    }
    return {"mean": Text(seconds_text(latency.mean_seconds)), **quantiles}
