"""Scrapes of a real server's metrics."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families
from tests.support.processes.servers import SpawnedServer


def scrape(server: SpawnedServer) -> str:
    """Return the metrics of a server that was started with --metrics-listen."""
    address = server.wait_for("listening")["metrics"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as response:
        text: str = response.read().decode()
        return text


def value_in(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of a scrape that have the labels; 0 without any."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def scrape_when(server: SpawnedServer, condition: Callable[[str], bool]) -> str:
    """Scrape until a condition holds for the text; return it.

    Raises:
        AssertionError: if it does not hold within a minute.
    """
    deadline, text = time.monotonic() + 60, ""
    while time.monotonic() < deadline:
        if condition(text := scrape(server)):
            return text
        time.sleep(0.1)  # no event says that a metric changed
    raise AssertionError(text)
