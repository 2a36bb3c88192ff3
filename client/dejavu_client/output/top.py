"""Renders a live view of a server's metrics: `dejavu top`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from dejavu_client.formatting import pluralize, seconds_text
from dejavu_client.output.responsive_table import Cells, ResponsiveColumn, ResponsiveTable

_BEAT_SECONDS: Final = 3.0
"""Age of a heartbeat from which a worker is shown as silent: they come every second."""

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")

_METHODS: Final = (
    ResponsiveColumn("method", "left", 9, width=20),
    ResponsiveColumn("calls", "right", 8, "calls/s", width=8),
    ResponsiveColumn("failed", "right", 7, "failed/s", width=8),
    ResponsiveColumn("refused", "right", 6, "refused/s", width=9),
    ResponsiveColumn("p50", "right", 4, width=8),
    ResponsiveColumn("p99", "right", 5, width=8),
    ResponsiveColumn("in_flight", "right", 3, "in flight", width=9),
)

_WORKERS: Final = (
    ResponsiveColumn("worker", "left", 9, width=20),
    ResponsiveColumn("cpu", "right", 8, "CPU", width=8),
    ResponsiveColumn("rss", "right", 7, "RSS", width=9),
    ResponsiveColumn("fds", "right", 4, "files", width=12),
    ResponsiveColumn("beat", "right", 5, "heartbeat", width=9),
    ResponsiveColumn("served", "right", 3, "serving", width=9),
)


def server_view(view: Mapping[str, Any], source: str, *, trouble: str = "") -> RenderableType:
    """Renders what happened in a server between two scrapes.

    Args:
        view: what `server_metrics.summary` returns.
        source: where the metrics are from.
        trouble: why the newest scrape failed; the view is then older. "" if it did not.
    """
    heading = Text.assemble(("dejavu-server ", "bold"), (view["version"] or "", "bold"), (f" · {source}", "dim"))
    notices = [Text(each, style="bold red") for each in ([f"no new metrics: {trouble}"] if trouble else [])]
    notices += [Text(each, style="yellow") for each in _notices(view)]
    methods = [(_method_cells(name, of), "") for name, of in view["methods"].items() if _is_shown(of)]
    workers = [(_worker_cells(slot, of), "") for slot, of in view["workers"].items()]
    tables: list[RenderableType] = [ResponsiveTable(_METHODS, methods)] if methods else [Text("no calls", style="dim")]
    return Group(
        heading,
        Text(_calls(view)),
        Text(_ledger(view)),
        Text(_lag(view["ledger"])),
        *notices,
        Text(),
        *tables,
        Text(),
        ResponsiveTable(_WORKERS, workers),
    )


def waiting_view(source: str, trouble: str) -> RenderableType:
    """Renders that there are no metrics yet, and why if that is known."""
    return Text(f"{source}: {trouble}" if trouble else f"reading the metrics of {source} …", style="dim")


def _calls(view: Mapping[str, Any]) -> str:
    parts = (
        f"{_rate(view['calls'])} calls/s",
        f"{_rate(view['failed'])} failed",
        f"{_rate(view['refused'])} refused",
        f"{view['in_flight']:,.0f} in flight",
        pluralize(round(view["streams"]), "stream"),
        f"{view['waiting'] or 0:,.0f} waiting",
    )
    return " · ".join(parts)


def _ledger(view: Mapping[str, Any]) -> str:
    ledger = view["ledger"]
    parts = [
        f"ledger {_bytes(ledger['bytes'])}",
        f"{_bytes(ledger['free_bytes'])} free",
        f"{_rate(view['recorded'])} recorded/s",
    ]
    if ledger["commit_p99"] is not None:
        parts.append(f"commit p99 {_seconds(ledger['commit_p99'])}")
    return " · ".join(parts)


def _lag(ledger: Mapping[str, Any]) -> str:
    age = ledger["checkpoint_age"]
    parts = (
        f"streams behind by {ledger['stream_lag'] or 0:,.0f}",
        f"models behind by {ledger['learner_lag'] or 0:,.0f}",
        f"checkpoint {_seconds(age)} old" if age else "checkpoint current",
    )
    return " · ".join(parts)


def _notices(view: Mapping[str, Any]) -> Iterator[str]:
    ledger = view["ledger"]
    if ledger["workers_without"]:
        yield f"{pluralize(round(ledger['workers_without']), 'worker')} cannot record forecasts"
    if ledger["workers_without_streams"]:
        yield f"no streams from {pluralize(round(ledger['workers_without_streams']), 'worker')}"
    if (ledger["free_bytes"] or 0) < (ledger["reserve_bytes"] or 0):
        yield "the disk is below its reserve: no new forecasts are recorded"
    if view["worker_deaths"]:
        yield f"workers that died since the start of the server: {view['worker_deaths']:,.0f}"
    if view["worker_hangs"]:
        yield f"workers that hung since the start of the server: {view['worker_hangs']:,.0f}"
    for file in view["outdated_files"]:
        yield f"a replaced file cannot be used, the former content stays in force: {file}"


def _is_shown(method: Mapping[str, float | None]) -> bool:
    return bool(method["calls"] or method["in_flight"])


def _method_cells(name: str, method: Mapping[str, Any]) -> Cells:
    return {
        "method": Text(name.rpartition("/")[2]),
        "calls": Text(_rate(method["calls"])),
        "failed": Text(_rate(method["failed"]), style="red" if method["failed"] else "dim"),
        "refused": Text(_rate(method["refused"]), style="yellow" if method["refused"] else "dim"),
        "p50": Text(_seconds(method["p50"])),
        "p99": Text(_seconds(method["p99"])),
        "in_flight": Text(f"{method['in_flight'] or 0:,.0f}"),
    }


def _worker_cells(slot: str, worker: Mapping[str, Any]) -> Cells:
    silent = (worker["beat_age"] or 0.0) > _BEAT_SECONDS
    return {
        "worker": Text(slot),
        "cpu": Text(f"{100 * worker['cpu']:.0f} %"),
        "rss": Text(_bytes(worker["resident_bytes"])),
        "fds": Text(f"{worker['open_fds']:,.0f}/{worker['max_fds']:,.0f}"),
        "beat": Text(_seconds(worker["beat_age"]), style="red" if silent else "dim"),
        "served": Text(_seconds(worker["served"])),
    }


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 or not rate else f"{rate:.1f}"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else seconds_text(seconds)


def _bytes(size: float | None) -> str:
    if size is None:
        return "–"
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:  # at most three digits
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if size >= 10 or not unit else f"{size:.1f} {_UNITS[unit]}"
