"""What `dejavu top` computes from two scrapes, and how it looks."""

from __future__ import annotations

import io
import itertools

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from dejavu_client.output.server_metrics import NoServerMetrics, Scrape, ScrapeInterval, summary
from dejavu_client.output.top import server_view
from dejavu_common.rich_console import Console
from dejavu_server.observability.metrics import Metrics

PREDICT = "/dejavu.v1.PredictionService/Predict"


class Server:
    """The metrics of a server, scraped every two seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        Gauge("dejavu_build_info", "Versions.", ["version"], registry=self.registry).labels("1.2.3").set(1)
        names = ("resident_bytes", "open_fds", "max_fds", "beat_age_seconds", "served_seconds")
        self.workers = {
            name: Gauge(f"dejavu_worker_{name}", "Of a worker.", ["worker"], registry=self.registry) for name in names
        }
        self._seconds = itertools.count(0, 2)

    def scrape(self) -> Scrape:
        return Scrape(generate_latest(self.registry).decode(), float(next(self._seconds)))

    def call(self, seconds: float, code: str = "OK", number: int = 1) -> None:
        for _ in range(number):
            self.metrics.calls.labels(PREDICT, code).inc()
            self.metrics.seconds.labels(PREDICT, code).observe(seconds)


@pytest.fixture
def server() -> Server:
    return Server()


def rendered(interval: ScrapeInterval, width: int, trouble: str = "") -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(server_view(summary(interval), "server:9464", trouble=trouble))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_rates_and_quantiles_are_of_the_interval_and_not_since_the_start(server: Server) -> None:
    server.call(2.0, number=100)
    before = server.scrape()
    server.call(0.0015, number=90)
    server.call(0.0015, "INVALID_ARGUMENT", number=9)
    server.call(0.15, "INTERNAL")
    view = summary(ScrapeInterval(before, server.scrape()))
    assert (view["calls"], view["failed"]) == (50, 0.5)
    method = view["methods"][PREDICT]  # type: ignore[index]
    assert 0.001 < method["p50"] < method["p99"] <= 0.002
    assert ScrapeInterval(before, server.scrape()).quantile("dejavu_call_seconds", 0.999, method=PREDICT) > 0.1  # type: ignore[operator]


def test_a_quantile_is_interpolated_as_prometheus_does_it(server: Server) -> None:
    before = server.scrape()
    server.call(0.0015, number=50)  # in the bucket from 1 to 2 ms
    server.call(0.003, number=50)  # in that from 2 to 5 ms
    interval = ScrapeInterval(before, server.scrape())
    assert interval.quantile("dejavu_call_seconds", 0.25) == pytest.approx(0.0015)
    assert interval.quantile("dejavu_call_seconds", 0.75) == pytest.approx(0.0035)
    assert interval.quantile("dejavu_compute_seconds", 0.5) is None
    server.call(1000.0, number=900)
    assert ScrapeInterval(before, server.scrape()).quantile("dejavu_call_seconds", 0.99) == 3.0


def test_a_counter_that_was_reset_by_a_restart_counts_from_zero(server: Server) -> None:
    server.call(0.001, number=100)
    restarted = Server()
    before = server.scrape()
    next(restarted._seconds)
    restarted.call(0.001, number=10)
    assert ScrapeInterval(before, restarted.scrape()).rate("dejavu_calls_total") == 5


@pytest.mark.parametrize("text", ["", "dejavu_poll_faults_total 1\n", "<html></html>", "\x00\x01"])
def test_what_are_no_metrics_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(NoServerMetrics, match="the answer"):
        Scrape(text, 0.0)


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_fits_the_terminal_and_says_what_is_wrong(server: Server, width: int) -> None:
    for worker, beat in (("0", 0.4), ("1", 4.0)):
        for name, value in {"resident_bytes": 160e6, "open_fds": 41, "max_fds": 20000, "served_seconds": 7300}.items():
            server.workers[name].labels(worker).set(value)
        server.workers["beat_age_seconds"].labels(worker).set(beat)
    server.metrics.in_flight.labels("/dejavu.v1.PredictionService/StreamPredictions").set(3)
    server.metrics.ledger_reserve.set(256e6)
    server.metrics.ledger_free.set(100e6)
    server.metrics.ledger_failed.set(1)
    server.metrics.set_access_reload("tls", False)
    before = server.scrape()
    server.call(0.0015, number=24690)
    server.metrics.refused.labels(PREDICT, "OVERLOADED").inc(50)
    shown = rendered(ScrapeInterval(before, server.scrape()), width, trouble="Connection refused")
    assert all(len(line) <= width for line in shown.splitlines())
    for text in (
        "dejavu-server 1.2.3 · server:9464",
        "12,345 calls/s · 0 failed · 25.0 refused · 0 in flight · 3 streams · 0 waiting",
        "no new metrics: Connection refused",
        "1 worker cannot record forecasts",
        "the disk is below its reserve",
        "the former content stays in force: tls",
        "153 MiB",
        "41/20,000",
        "4.0 s",
    ):
        assert text in shown


def test_a_server_without_calls_says_so(server: Server) -> None:
    shown = rendered(ScrapeInterval(server.scrape(), server.scrape()), 80)
    assert "no calls" in shown
    assert "checkpoint current" in shown
