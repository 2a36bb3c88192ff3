"""The alerts of the page's gateway ask for metrics that it has, and fire when its server is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.conftest import Site
from tests.support.processes.gateway import running_gateway
from tests.support.processes.promtool import expressions, firing, promtool, scraped_series
from tests.support.processes.servers import running_worker

PAGE = {name: query for name, query in expressions().items() if "dejavu_dashboard_" in query}
SCRAPED: Any = {"instance": "page:8080", "job": "dejavu-dashboard"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("name", PAGE)
def test_an_alert_names_only_what_a_gateway_exports(site: Site, name: str) -> None:
    site.get("/api/status")
    exported = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(site.get("/metrics").text)
        for sample in family.samples
    }
    named = set(re.findall(r"dejavu_\w+", PAGE[name]))
    assert named <= exported.keys()
    matched = set(re.findall(r"[{,]\s*(\w+)\s*=", PAGE[name]))
    assert matched <= {label for metric in named for label in exported[metric]} | {"job"}


def test_an_alert_fires_when_the_server_of_a_gateway_is_gone(tmp_path: Path, stack: ExitStack) -> None:
    promtool()
    with running_worker(tmp_path) as server:
        gateway = stack.enter_context(running_gateway(server))
        metrics = f"http://{gateway.address}/metrics"
        before = httpx.get(metrics, timeout=60).text
    gateway.wait_for("status_changed", lambda entry: entry["reason"] == "SERVER_GONE")
    gone = httpx.get(metrics, timeout=60).text
    assert firing(tmp_path, scraped_series([before] * 40, **SCRAPED), minutes=9) == set()
    series = scraped_series([*[before] * 4, *[gone] * 40], **SCRAPED)
    assert firing(tmp_path, series, minutes=5) == {"DejavuDashboardNotStreaming"}
