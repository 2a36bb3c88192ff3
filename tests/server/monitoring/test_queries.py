"""Every query of the alerts and of the dashboard finds its metrics and labels at a real server."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.promtool import (
    ROOT,
    empty_queries,
    expressions,
    firing,
    metrics_faults,
    promtool,
    scraped_series,
)
from tests.support.processes.scrapes import scrape_when
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, DejavuClient
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import ALL_SCOPES

if TYPE_CHECKING:  # the stub of the types only
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

MONITORING = ROOT / "server/monitoring"

ADDED_BY_PROMETHEUS = {"instance", "job"}


async def crowd(server: SpawnedServer, token: str) -> None:
    """Make more calls at once than are admitted, and read one stream until its first message."""
    metadata = (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(server.address) as channel:
        service: PredictionServiceAsyncStub = PredictionServiceStub(channel)
        stream = service.StreamPredictions(pb.StreamPredictionsRequest(), metadata=metadata)
        await stream.read()
        calls = [service.Predict(pb.PredictRequest(pattern=PATTERN), metadata=metadata) for _ in range(100)]
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in await asyncio.gather(*(call.code() for call in calls))


@pytest.fixture(scope="module")
def scrapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two scrapes of a server that has used every kind of metric."""
    folder = tmp_path_factory.mktemp("scraped")
    tokens = folder / "tokens.json"
    token = token_file.create(tokens, "tests", tuple(ALL_SCOPES), utc_now())
    arguments = ("--workers", "1", "--tokens", str(tokens), "--max-in-flight", "1", "--metrics-listen", "127.0.0.1:0")
    stores = ("--ledger", f"sqlite:///{folder}/ledger.sqlite3", "--model-store", str(folder / "store"))
    backups = ("--backup-folder", str(folder))
    with spawned_server(*arguments, *stores, *backups) as server:
        texts = []
        for number in range(2):
            with DejavuClient(server.address, token=token, timeout=60.0) as client:
                client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(number))
            asyncio.run(crowd(server, token))
            texts.append(scrape_when(server, lambda text: "dejavu_part_stalled_seconds{" in text))
        yield texts


@pytest.fixture(scope="module")
def labels(scrapes: list[str]) -> dict[str, set[str]]:
    """Label names of every series of the scrapes."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for text in scrapes:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] |= sample.labels.keys()
    return dict(found)


def dashboard_queries() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())

    def targets(node: Any) -> Iterator[str]:
        for panel in node.get("panels", []):
            yield from (target["expr"] for target in panel.get("targets", []))
            yield from targets(panel)

    return list(targets(dashboard))


OTHERS = ("dejavu_dashboard_", "dejavu_poll_")
"""Prefixes of the page's gateway and of the poller, whose tests check the alerts on them."""

QUERIES = [*dashboard_queries(), *(each for each in expressions().values() if not any(name in each for name in OTHERS))]


def named(query: str) -> tuple[set[str], set[str]]:
    """Return the metrics and the labels that a query names."""
    matchers = re.findall(r"\{(.*?)\}", query)
    used = {name for inside in matchers for name in re.findall(r"(\w+)\s*[=!]", inside)}
    for group in re.findall(r"\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)", query):
        used |= {name.strip() for name in group.split(",")} - {""}
    return set(re.findall(r"\bdejavu_\w+", query)), used


def test_queries_name_only_what_the_server_exports(labels: dict[str, set[str]]) -> None:
    example = 'sum by (code, instance) (rate(dejavu_calls_total{method=~"x"}[5m]))'
    assert named(example) == ({"dejavu_calls_total"}, {"code", "instance", "method"})
    assert len(QUERIES) > 55
    for query in QUERIES:
        metrics, used = named(query)
        assert metrics <= labels.keys() or query.startswith("up{"), query
        known = {label for metric in metrics for label in labels[metric]}
        assert used <= known | ADDED_BY_PROMETHEUS, query


def test_the_metrics_are_named_as_prometheus_wants_them(scrapes: list[str]) -> None:
    assert metrics_faults(scrapes[1]) == ""


def test_an_hour_without_a_fault_is_silent(scrapes: list[str], tmp_path: Path) -> None:
    """But for the shipped bundle's ratings, which are those of a past season."""
    promtool()
    assert firing(tmp_path, scraped_series([scrapes[1]] * 240), minutes=59) == {"DejavuRatingsOutdated"}


def test_every_query_of_the_dashboard_shows_something(scrapes: list[str], tmp_path: Path) -> None:
    promtool()
    series = scraped_series([scrapes[0]] * 4 + [scrapes[1]] * 4)
    queries = [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in dashboard_queries()]
    assert empty_queries(tmp_path, series, queries, minutes=1.5) == []


def test_the_committed_dashboard_is_what_its_program_generates() -> None:
    check = [sys.executable, str(MONITORING / "generate_dashboard.py"), "--check"]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
