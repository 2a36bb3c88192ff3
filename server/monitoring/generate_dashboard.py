"""Generates dashboard.json, a Grafana dashboard of the server's metrics; --check compares it with the committed file.

Import the file into Grafana 11 or newer, which asks for the data source: the Prometheus that scrapes the server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableHide

TARGET = Path(__file__).with_name("dashboard.json")

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_SERVER = 'instance=~"$instance"'
_WINDOW = "$__rate_interval"
_FAILED = 'code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE"'
_STREAMS = 'method=~".*/StreamPredictions"'


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: its title.
        unit: unit of its values, by Grafana's name.
        queries: its queries in PromQL, by the names of their series; {{label}} is replaced.
        description: content, and when to worry.
    """

    title: str
    unit: str
    queries: Mapping[str, str]
    description: str = ""


def selector(metric: str, matchers: str = "") -> str:
    """Return a metric of the chosen servers."""
    return f"{metric}{{{_SERVER}{', ' if matchers else ''}{matchers}}}"


def rate(metric: str, by: str = "", matchers: str = "") -> str:
    """Return the rate of a counter a second, summed by labels."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({selector(metric, matchers)}[{_WINDOW}]))"


def quantiles(metric: str, matchers: str = "") -> Mapping[str, str]:
    """Return median and 99th percentile of a histogram."""
    buckets = rate(f"{metric}_bucket", "le", matchers)
    return {name: f"histogram_quantile({share}, {buckets})" for share, name in ((0.5, "p50"), (0.99, "p99"))}


SUMMARY = (
    Panel("Workers", "none", {"Workers": f"sum({selector('dejavu_workers')})"}),
    Panel("Calls a second", "reqps", {"Calls a second": rate("dejavu_calls_total")}),
    Panel(
        "Failed",
        "percentunit",
        # Without `or vector(0)` there would be no value until the first failure.
        {"Failed": f"({rate('dejavu_calls_total', matchers=_FAILED)} or vector(0)) / {rate('dejavu_calls_total')}"},
        "Share of calls that failed by the server's fault.",
    ),
    Panel(
        "Refused a second",
        "reqps",
        {"Refused a second": f"{rate('dejavu_calls_refused_total')} or vector(0)"},
        "Before they were computed.",
    ),
    Panel(
        "Subscribers", "none", {"Subscribers": "sum(" + selector("dejavu_calls_in_flight", _STREAMS) + ") or vector(0)"}
    ),
    Panel("Ledger's free disk", "bytes", {"Ledger's free disk": f"min({selector('dejavu_ledger_disk_free_bytes')})"}),
)

ROWS: dict[str, tuple[Panel, ...]] = {
    "Calls": (
        Panel("Calls by method", "reqps", {"{{method}}": rate("dejavu_calls_total", "method")}),
        Panel("Calls by code", "reqps", {"{{code}}": rate("dejavu_calls_total", "code")}),
        Panel(
            "Duration of forecasts",
            "s",
            quantiles("dejavu_call_seconds", 'method=~".*/(Predict|AssessRisk)"'),
            "Of unary calls that were admitted.",
        ),
        Panel(
            "Calls in progress and refused",
            "none",
            {
                "{{method}}": f"sum by (method) ({selector('dejavu_calls_in_flight')})",
                "refused a second: {{reason}}": rate("dejavu_calls_refused_total", "reason"),
            },
        ),
        Panel("Calls by caller", "reqps", {"{{caller}}": rate("dejavu_caller_calls_total", "caller")}),
        Panel("Messages on streams", "cps", {"{{method}}": rate("dejavu_stream_messages_total", "method")}),
    ),
    "Forecasts": (
        Panel("Forecasts by model", "cps", {"{{model}} {{horizon}}": rate("dejavu_forecasts_total", "model, horizon")}),
        Panel(
            "Recorded",
            "cps",
            {"{{outcome}}": rate("dejavu_forecasts_recorded_total", "outcome")},
            "Forecasts of named games handed to the ledger.",
        ),
        Panel(
            "Cache of what-ifs",
            "cps",
            {
                "hits": rate("dejavu_cache_hits_total"),
                "misses": rate("dejavu_cache_misses_total"),
                "evictions": rate("dejavu_cache_evictions_total"),
                "shared: {{result}}": rate("dejavu_cache_shared_lookups_total", "result"),
                "shared cache fails": f"max({selector('dejavu_cache_shared_failed')})",
            },
            "What-ifs answered without being computed, and computed while the cache is on.",
        ),
        Panel("Answers in the cache", "none", {"answers": f"sum({selector('dejavu_cache_entries')})"}),
        Panel("Memory of the cache", "bytes", {"bytes": f"sum({selector('dejavu_cache_bytes')})"}),
        Panel("Wait in the queue", "s", quantiles("dejavu_queue_seconds")),
        Panel("Compute", "s", quantiles("dejavu_compute_seconds"), "Time of the models for a batch."),
        Panel(
            "Batch size and queue",
            "none",
            {
                "queries in a batch": f"{rate('dejavu_batch_size_sum')} / {rate('dejavu_batch_size_count')}",
                "waiting": f"sum({selector('dejavu_queries_waiting')})",
            },
        ),
        Panel(
            "Dropped",
            "cps",
            {"{{stage}}": rate("dejavu_work_dropped_total", "stage")},
            "Queries whose callers had gone (`computed`: work for nothing).",
        ),
    ),
    "Ledger and streams": (
        Panel("Commit", "s", quantiles("dejavu_ledger_commit_seconds")),
        Panel("Reads", "s", quantiles("dejavu_ledger_read_seconds")),
        Panel(
            "Disk",
            "bytes",
            {
                "free": selector("dejavu_ledger_disk_free_bytes"),
                "reserve": selector("dejavu_ledger_disk_reserve_bytes"),
                "ledger": selector("dejavu_ledger_bytes"),
            },
        ),
        Panel(
            "Workers without ledger or streams",
            "none",
            {
                "without ledger": selector("dejavu_workers_without_ledger"),
                "without streams": selector("dejavu_workers_without_streams"),
            },
        ),
        Panel(
            "Lag",
            "none",
            {
                "streams, entries": selector("dejavu_stream_lag_entries"),
                "streams, seconds": selector("dejavu_stream_lag_seconds"),
                "models, outcomes": selector("dejavu_learner_lag_outcomes"),
            },
        ),
        Panel(
            "Age of the newest checkpoint",
            "s",
            {
                "age": selector("dejavu_checkpoint_age_seconds"),
                "interval": selector("dejavu_checkpoint_interval_seconds"),
            },
            "0 while it covers the newest entry.",
        ),
        Panel(
            "Clock ahead of the database's",
            "s",
            {"ahead": selector("dejavu_ledger_clock_ahead_seconds")},
            "From two minutes on, nothing is recorded.",
        ),
    ),
    "Models": (
        Panel(
            "Coverage",
            "percentunit",
            {
                "{{model}} {{horizon}}": selector("dejavu_coverage_ratio"),
                "{{model}} {{horizon}}, nominal": selector("dejavu_coverage_nominal_ratio"),
            },
            "Share of the intervals of the last 30 days' games that held.",
        ),
        Panel(
            "Games of that coverage",
            "none",
            {
                "{{model}} {{horizon}}": selector("dejavu_coverage_games"),
                "{{model}} {{horizon}}, intervals": selector("dejavu_coverage_forecasts"),
            },
        ),
        Panel(
            "Shadows",
            "cps",
            {
                "{{outcome}}": rate("dejavu_shadows_total", "outcome"),
                "shed": rate("dejavu_shadows_shed_total"),
                "waiting": f"sum({selector('dejavu_shadows_waiting')})",
            },
            "Forecasts that challengers made beside recorded ones; shed: too many waited, so that some have none.",
        ),
        Panel(
            "Champion worse",
            "none",
            {"than {{against}}": f"max by (against) ({selector('dejavu_champion_worse')})"},
            "1 while the gate has shown that the model that serves is worse.",
        ),
        Panel(
            "Models in force",
            "none",
            {
                "{{worker}}": selector("dejavu_roster_sequence"),
                "failed loads": rate("dejavu_model_load_failures_total"),
            },
            "Place in the ledger of the change of models that each worker follows; equal but for moments.",
        ),
        Panel(
            "Age of the ratings",
            "s",
            {"{{model}}": selector("dejavu_ratings_age_seconds"), "limit": selector("dejavu_ratings_max_age_seconds")},
        ),
    ),
    "Workers": (
        Panel("Memory", "bytes", {"{{worker}}": selector("dejavu_worker_resident_bytes")}),
        Panel(
            "CPU",
            "percentunit",
            {"{{worker}}": f"rate({selector('dejavu_worker_cpu_seconds_total')}[{_WINDOW}])"},
            "Of one core.",
        ),
        Panel(
            "File descriptors",
            "percentunit",
            {"{{worker}}": f"{selector('dejavu_worker_open_fds')} / {selector('dejavu_worker_max_fds')}"},
        ),
        Panel("Age of the heartbeat", "s", {"{{worker}}": selector("dejavu_worker_beat_age_seconds")}),
        Panel(
            "Deaths, hangs, failed starts",
            "none",
            {
                "deaths": f"increase({selector('dejavu_worker_deaths_total')}[{_WINDOW}])",
                "hangs: {{part}}": f"increase({selector('dejavu_worker_hangs_total')}[{_WINDOW}])",
                "failed starts": f"increase({selector('dejavu_worker_starts_failed_total')}[{_WINDOW}])",
                "recycled": f"increase({selector('dejavu_workers_recycled_total')}[{_WINDOW}])",
            },
        ),
        Panel(
            "Reloads and files",
            "none",
            {
                "reload: {{outcome}}": f"increase({selector('dejavu_reloads_total')}[{_WINDOW}])",
                "outdated: {{file}}": selector("dejavu_access_file_outdated"),
            },
            "Reloads by SIGHUP, and files of tokens, keys or certificates that cannot be used.",
        ),
        Panel("Stalled parts", "s", {"{{part}}": selector("dejavu_part_stalled_seconds")}),
    ),
}


def panels() -> Iterator[Panel]:
    """Yield all panels."""
    yield from SUMMARY
    for row in ROWS.values():
        yield from row


def _targets(panel: Panel) -> Iterator[prometheus.Dataquery]:
    for index, (name, expression) in enumerate(panel.queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(name)
        yield query.ref_id(chr(ord("A") + index)).datasource(_SOURCE)


def _fill(
    builder: stat.Panel | timeseries.Panel, panel: Panel, width: int, height: int
) -> stat.Panel | timeseries.Panel:
    builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(_SOURCE)
    builder.span(width).height(height)
    for target in _targets(panel):
        builder.with_target(target)
    return builder


def generate() -> str:
    """Return the dashboard as JSON."""
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    instance = (
        dashboard.QueryVariable("instance")
        .label("Server")
        .query("label_values(dejavu_build_info, instance)")
        .datasource(_SOURCE)
        .include_all(True)
        .multi(True)
    )
    built = (
        dashboard.Dashboard("Dejavu")
        .uid("dejavu")
        .description("Forecasts of NBA games: calls, forecasts, ledger, models and workers of dejavu-server.")
        .tags(["dejavu", "grpc"])
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .with_variable(source)
        .with_variable(instance.hide(VariableHide.DONT_HIDE))
    )
    for panel in SUMMARY:
        built.with_panel(_fill(stat.Panel(), panel, 4, 4))
    for title, row in ROWS.items():
        built.with_row(dashboard.Row(title))
        for panel in row:
            built.with_panel(_fill(timeseries.Panel(), panel, 8, 7))
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write the dashboard; with --check, exit with 1 if the file differs."""
    generated = generate()
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(generated)
    elif not TARGET.exists() or TARGET.read_text() != generated:
        sys.exit(f"{TARGET} differs from what {Path(__file__).name} gives: run make gen and commit it")


if __name__ == "__main__":
    main()
