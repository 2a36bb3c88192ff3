"""Generates dashboard.json, a Grafana dashboard of the server's metrics; --check compares it with the committed file.

Import the file into Grafana 11 or newer, which asks for the data source: the Prometheus that scrapes the server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
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


class Query(NamedTuple):
    """A query of a panel.

    Attributes:
        expression: in PromQL.
        legend: name of its series; {{label}} is replaced.
    """

    expression: str
    legend: str = ""


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: its title.
        unit: unit of its values, by Grafana's name.
        queries: its queries.
        description: content, and when to worry.
    """

    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str = ""


def selector(metric: str, matchers: str = "") -> str:
    """Return a metric of the chosen servers."""
    return f"{metric}{{{_SERVER}{', ' if matchers else ''}{matchers}}}"


def rate(metric: str, by: str = "", matchers: str = "") -> str:
    """Return the rate of a counter a second, summed by labels."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({selector(metric, matchers)}[{_WINDOW}]))"


def quantiles(metric: str, matchers: str = "") -> tuple[Query, ...]:
    """Return median and 99th percentile of a histogram."""
    buckets = rate(f"{metric}_bucket", "le", matchers)
    return tuple(
        Query(f"histogram_quantile({share}, {buckets})", name) for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


SUMMARY = (
    Panel("Workers", "none", (Query(f"sum({selector('dejavu_workers')})"),)),
    Panel("Calls a second", "reqps", (Query(rate("dejavu_calls_total")),)),
    Panel(
        "Failed",
        "percentunit",
        (
            # Without `or vector(0)` there would be no value until the first failure.
            Query(f"({rate('dejavu_calls_total', matchers=_FAILED)} or vector(0)) / {rate('dejavu_calls_total')}"),
        ),
        "Share of calls that failed by the server's fault.",
    ),
    Panel(
        "Refused a second",
        "reqps",
        (Query(f"{rate('dejavu_calls_refused_total')} or vector(0)"),),
        "Before they were computed.",
    ),
    Panel("Subscribers", "none", (Query("sum(" + selector("dejavu_calls_in_flight", _STREAMS) + ") or vector(0)"),)),
    Panel("Ledger's free disk", "bytes", (Query(f"min({selector('dejavu_ledger_disk_free_bytes')})"),)),
)

ROWS: dict[str, tuple[Panel, ...]] = {
    "Calls": (
        Panel("Calls by method", "reqps", (Query(rate("dejavu_calls_total", "method"), "{{method}}"),)),
        Panel("Calls by code", "reqps", (Query(rate("dejavu_calls_total", "code"), "{{code}}"),)),
        Panel(
            "Duration of forecasts",
            "s",
            quantiles("dejavu_call_seconds", 'method=~".*/(Predict|AssessRisk)"'),
            "Of unary calls that were admitted.",
        ),
        Panel(
            "Calls in progress and refused",
            "none",
            (
                Query(f"sum by (method) ({selector('dejavu_calls_in_flight')})", "{{method}}"),
                Query(rate("dejavu_calls_refused_total", "reason"), "refused a second: {{reason}}"),
            ),
        ),
        Panel("Calls by caller", "reqps", (Query(rate("dejavu_caller_calls_total", "caller"), "{{caller}}"),)),
        Panel("Messages on streams", "cps", (Query(rate("dejavu_stream_messages_total", "method"), "{{method}}"),)),
    ),
    "Forecasts": (
        Panel(
            "Forecasts by model",
            "cps",
            (Query(rate("dejavu_forecasts_total", "model, horizon"), "{{model}} {{horizon}}"),),
        ),
        Panel(
            "Recorded",
            "cps",
            (Query(rate("dejavu_forecasts_recorded_total", "outcome"), "{{outcome}}"),),
            "Forecasts of named games handed to the ledger.",
        ),
        Panel(
            "Cache of what-ifs",
            "cps",
            (
                Query(rate("dejavu_cache_hits_total"), "hits"),
                Query(rate("dejavu_cache_misses_total"), "misses"),
                Query(rate("dejavu_cache_evictions_total"), "evictions"),
                Query(rate("dejavu_cache_shared_lookups_total", "result"), "shared: {{result}}"),
                Query(f"max({selector('dejavu_cache_shared_failed')})", "shared cache fails"),
            ),
            "What-ifs answered without being computed, and computed while the cache is on.",
        ),
        Panel("Answers in the cache", "none", (Query(f"sum({selector('dejavu_cache_entries')})", "answers"),)),
        Panel("Memory of the cache", "bytes", (Query(f"sum({selector('dejavu_cache_bytes')})", "bytes"),)),
        Panel("Wait in the queue", "s", quantiles("dejavu_queue_seconds")),
        Panel("Compute", "s", quantiles("dejavu_compute_seconds"), "Time of the models for a batch."),
        Panel(
            "Batch size and queue",
            "none",
            (
                Query(f"{rate('dejavu_batch_size_sum')} / {rate('dejavu_batch_size_count')}", "queries in a batch"),
                Query(f"sum({selector('dejavu_queries_waiting')})", "waiting"),
            ),
        ),
        Panel(
            "Dropped",
            "cps",
            (Query(rate("dejavu_work_dropped_total", "stage"), "{{stage}}"),),
            "Queries whose callers had gone (`computed`: work for nothing).",
        ),
    ),
    "Ledger and streams": (
        Panel("Commit", "s", quantiles("dejavu_ledger_commit_seconds")),
        Panel("Reads", "s", quantiles("dejavu_ledger_read_seconds")),
        Panel(
            "Disk",
            "bytes",
            (
                Query(selector("dejavu_ledger_disk_free_bytes"), "free"),
                Query(selector("dejavu_ledger_disk_reserve_bytes"), "reserve"),
                Query(selector("dejavu_ledger_bytes"), "ledger"),
            ),
        ),
        Panel(
            "Workers without ledger or streams",
            "none",
            (
                Query(selector("dejavu_workers_without_ledger"), "without ledger"),
                Query(selector("dejavu_workers_without_streams"), "without streams"),
            ),
        ),
        Panel(
            "Lag",
            "none",
            (
                Query(selector("dejavu_stream_lag_entries"), "streams, entries"),
                Query(selector("dejavu_stream_lag_seconds"), "streams, seconds"),
                Query(selector("dejavu_learner_lag_outcomes"), "models, outcomes"),
            ),
        ),
        Panel(
            "Age of the newest checkpoint",
            "s",
            (
                Query(selector("dejavu_checkpoint_age_seconds"), "age"),
                Query(selector("dejavu_checkpoint_interval_seconds"), "interval"),
            ),
            "0 while it covers the newest entry.",
        ),
        Panel(
            "Clock ahead of the database's",
            "s",
            (Query(selector("dejavu_ledger_clock_ahead_seconds"), "ahead"),),
            "From two minutes on, nothing is recorded.",
        ),
    ),
    "Models": (
        Panel(
            "Coverage",
            "percentunit",
            (
                Query(selector("dejavu_coverage_ratio"), "{{model}} {{horizon}}"),
                Query(selector("dejavu_coverage_nominal_ratio"), "{{model}} {{horizon}}, nominal"),
            ),
            "Share of the intervals of the last 30 days' games that held.",
        ),
        Panel(
            "Games of that coverage",
            "none",
            (
                Query(selector("dejavu_coverage_games"), "{{model}} {{horizon}}"),
                Query(selector("dejavu_coverage_forecasts"), "{{model}} {{horizon}}, intervals"),
            ),
        ),
        Panel(
            "Shadows",
            "cps",
            (
                Query(rate("dejavu_shadows_total", "outcome"), "{{outcome}}"),
                Query(rate("dejavu_shadows_shed_total"), "shed"),
                Query(f"sum({selector('dejavu_shadows_waiting')})", "waiting"),
            ),
            "Forecasts that challengers made beside recorded ones; shed: too many waited, so that some have none.",
        ),
        Panel(
            "Champion worse",
            "none",
            (Query(f"max by (against) ({selector('dejavu_champion_worse')})", "than {{against}}"),),
            "1 while the gate has shown that the model that serves is worse.",
        ),
        Panel(
            "Models in force",
            "none",
            (
                Query(selector("dejavu_roster_sequence"), "{{worker}}"),
                Query(rate("dejavu_model_load_failures_total"), "failed loads"),
            ),
            "Place in the ledger of the change of models that each worker follows; equal but for moments.",
        ),
        Panel(
            "Age of the ratings",
            "s",
            (
                Query(selector("dejavu_ratings_age_seconds"), "{{model}}"),
                Query(selector("dejavu_ratings_max_age_seconds"), "limit"),
            ),
        ),
    ),
    "Workers": (
        Panel("Memory", "bytes", (Query(selector("dejavu_worker_resident_bytes"), "{{worker}}"),)),
        Panel(
            "CPU",
            "percentunit",
            (Query(f"rate({selector('dejavu_worker_cpu_seconds_total')}[{_WINDOW}])", "{{worker}}"),),
            "Of one core.",
        ),
        Panel(
            "File descriptors",
            "percentunit",
            (Query(f"{selector('dejavu_worker_open_fds')} / {selector('dejavu_worker_max_fds')}", "{{worker}}"),),
        ),
        Panel("Age of the heartbeat", "s", (Query(selector("dejavu_worker_beat_age_seconds"), "{{worker}}"),)),
        Panel(
            "Deaths, hangs, failed starts",
            "none",
            (
                Query(f"increase({selector('dejavu_worker_deaths_total')}[{_WINDOW}])", "deaths"),
                Query(f"increase({selector('dejavu_worker_hangs_total')}[{_WINDOW}])", "hangs: {{part}}"),
                Query(f"increase({selector('dejavu_worker_starts_failed_total')}[{_WINDOW}])", "failed starts"),
                Query(f"increase({selector('dejavu_workers_recycled_total')}[{_WINDOW}])", "recycled"),
            ),
        ),
        Panel(
            "Reloads and files",
            "none",
            (
                Query(f"increase({selector('dejavu_reloads_total')}[{_WINDOW}])", "reload: {{outcome}}"),
                Query(selector("dejavu_access_file_outdated"), "outdated: {{file}}"),
            ),
            "Reloads by SIGHUP, and files of tokens, keys or certificates that cannot be used.",
        ),
        Panel("Stalled parts", "s", (Query(selector("dejavu_part_stalled_seconds"), "{{part}}"),)),
    ),
}


def panels() -> Iterator[Panel]:
    """Yield all panels."""
    yield from SUMMARY
    for row in ROWS.values():
        yield from row


def _targets(panel: Panel) -> Iterator[prometheus.Dataquery]:
    for index, query in enumerate(panel.queries):
        yield (
            prometheus.Dataquery()
            .expr(query.expression)
            .legend_format(query.legend or panel.title)
            .ref_id(chr(ord("A") + index))
            .datasource(_SOURCE)
        )


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
