"""Evaluates the alert rules by Prometheus's own promtool, on series that a test gives or has scraped.

firing(["dejavu_workers_without_ledger{instance='a'} 1+0x10"], minutes=5) == {"DejavuLedgerUnavailable"}
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.support.harness.required import required_program

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy/helm/dejavu/alerts.yaml"

STEP_SECONDS = 15
"""Interval of the series."""

_EVALUATION_SECONDS = 30
"""Interval of the evaluation: the longest that the rules allow for, as it takes most of the time."""


def promtool() -> str:
    """Return the path of promtool; skip the test if there is none, unless CI requires it."""
    return required_program("promtool", "prometheus")


def metrics_faults(text: str) -> str:
    """Return what promtool finds wrong with exported metrics, such as units that are no base units."""
    run = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def alert_names() -> list[str]:
    """Return the names of all alerts, in the order of the file."""
    return re.findall(r"^ *- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


def expressions() -> dict[str, str]:
    """Return the expression of every alert, as promtool prints it."""
    parts = re.split(r"^ *- alert: (\w+)$", RULES.read_text(), flags=re.MULTILINE)
    found = {}
    for name, rule in zip(parts[1::2], parts[2::2], strict=True):
        block = re.search(r"^ *expr: (?:>-\n)?(.*?)\n *(?:for|labels):", rule, re.MULTILINE | re.DOTALL)
        assert block is not None, name
        found[name] = " ".join(block[1].split())
    return found


def firing(folder: Path, series: Sequence[str], minutes: float) -> set[str]:
    """Return the names of the alerts that fire after some minutes.

    Args:
        folder: a folder for the input of promtool.
        series: each "SERIES VALUES" in the notation of promtool, a value every STEP_SECONDS.
        minutes: when to look, from the start of the series.
    """
    return firing_each(folder, [(series, minutes)])[0]


def firing_each(folder: Path, cases: Sequence[tuple[Sequence[str], float]]) -> list[set[str]]:
    """Return what `firing` returns for series and minutes of several cases, from one process for all."""
    tests = [
        _group(
            series,
            [
                {  # the number of the case, without an effect on the value, is in the report
                    "expr": f'(count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)) + 0 * {place}',
                    "eval_time": f"{round(60 * minutes)}s",
                    "exp_samples": [{"labels": "{}", "value": 0}],
                }
                for name in alert_names()
            ],
        )
        for place, (series, minutes) in enumerate(cases)
    ]
    found: list[set[str]] = [set() for _ in cases]
    for name, place in re.findall(r'alertname=\\?"(\w+).*? \+ 0 \* (\d+)', _test(folder, tests)):
        found[int(place)].add(name)
    return found


def _group(series: Sequence[str], expected: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": f"{STEP_SECONDS}s",
        "input_series": [dict(zip(("series", "values"), each.split(" ", 1), strict=True)) for each in series],
        "promql_expr_test": expected,
    }


def _test(folder: Path, tests: Sequence[dict[str, Any]]) -> str:
    """Return promtool's report about expectations that do not hold; empty if all do."""
    document = {"rule_files": [str(RULES)], "evaluation_interval": f"{_EVALUATION_SECONDS}s", "tests": tests}
    path = folder / "promtool.json"  # JSON is YAML
    path.write_text(json.dumps(document))
    # A few megabytes of garbage are not worth the time to collect them.
    environment = {**os.environ, "GOGC": "off"}
    command = [promtool(), "test", "rules", str(path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    report = run.stdout + run.stderr
    if run.returncode and 'expr: "' not in report:  # it could not read the test, or a query
        raise AssertionError(report)
    return report if run.returncode else ""


def scraped_series(
    scrapes: Iterable[str | None], *, instance: str = "server:9464", job: str = "dejavu", now: float = 0.0
) -> list[str]:
    """Return the series of successive scrapes, as `firing` takes them; `up` included.

    Args:
        scrapes: texts of /metrics, in the order of time; each stands for one step. None: there was no answer.
        instance: label that Prometheus adds.
        job: another such label.
        now: the time of the first scrape, in seconds since 1970: timestamps become relative to it, as the evaluation's
            time begins at 0.
    """
    texts = list(scrapes)
    series: dict[str, list[str]] = {}
    for index, text in enumerate(texts):
        for family in text_string_to_metric_families(text or ""):
            for sample in family.samples:
                labels: dict[str, Any] = {**sample.labels, "instance": instance, "job": job}
                key = sample.name + "{" + ",".join(f"{name}='{value}'" for name, value in labels.items()) + "}"
                values = series.setdefault(key, ["_"] * len(texts))
                value = sample.value - now if sample.name.endswith("_timestamp_seconds") else sample.value
                values[index] = "NaN" if math.isnan(value) else f"{value:.17g}"
    up = " ".join("0" if text is None else "1" for text in texts)
    return [
        f"up{{instance='{instance}',job='{job}'}} {up}",
        *(f"{key} {' '.join(each)}" for key, each in series.items()),
    ]


def empty_queries(folder: Path, series: Sequence[str], queries: Sequence[str], minutes: float) -> list[str]:
    """Return the queries that give no result; see `firing` for the arguments."""
    expected: list[dict[str, Any]] = [
        {
            "expr": f"(count({query}) > bool 0) or vector(0)",
            "eval_time": f"{round(60 * minutes)}s",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for query in queries
    ]
    report = _test(folder, [_group(series, expected)])
    return [each["expr"] for each in expected if json.dumps(each["expr"]) in report]
